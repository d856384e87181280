import numpy as np
import pytest

from prompt_processing.domain.ids import PackedId, pack_id, pack_ids, unpack_id


@pytest.mark.parametrize(("visit", "dated"), [(2025060900578, True), (2054110799999, True), (12345, False)])
def test_id_gives_back_visit_detector_and_counter(visit: int, dated: bool) -> None:
    identifier = pack_id(visit, 204, 2**24 - 1)
    assert 0 <= identifier < 2**63
    assert unpack_id(identifier, dated=dated) == PackedId(visit, 204, 2**24 - 1)


def test_ids_of_neighbouring_visits_and_detectors_differ() -> None:
    ids = [
        pack_ids(visit, detector, range(50))
        for visit in (2025060900578, 2025060900579, 2025061000578)
        for detector in (0, 1, 255)
    ]
    assert np.unique(np.concatenate(ids)).size == 9 * 50
    assert ids[0].dtype == np.int64


def test_no_rows_give_no_ids() -> None:
    assert pack_ids(2025060900578, 94, ()).shape == (0,)


@pytest.mark.parametrize(
    ("visit", "detector", "counter"),
    [
        (2025060900578, 256, 0),
        (2025060900578, 0, 2**24),
        (-1, 0, 0),
        (2025139900001, 0, 0),
        (2060010100001, 0, 0),
    ],
)
def test_what_does_not_fit_is_refused(visit: int, detector: int, counter: int) -> None:
    with pytest.raises(ValueError, match=r"fit|neither"):
        pack_id(visit, detector, counter)
