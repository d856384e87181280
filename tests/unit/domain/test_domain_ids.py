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
        (2025060900578, 300, 0),
        (2025060900578, 0, 2**24),
        (-1, 0, 0),
        (2025139900001, 0, 0),
        (2060010100001, 0, 0),
    ],
)
def test_what_does_not_fit_is_refused(visit: int, detector: int, counter: int) -> None:
    with pytest.raises(ValueError, match=r"fit|neither"):
        pack_id(visit, detector, counter)


@pytest.mark.parametrize(
    ("visit", "visit_bits"),
    # Days since 2010-01-01 and the sequence number; the number itself.
    [(2025060900578, 5638 << 17 | 578), (2010010100000, 0), (2**31 - 1, 2**31 - 1)],
)
def test_ids_in_an_apdb_keep_their_meaning(visit: int, visit_bits: int) -> None:
    assert pack_id(visit, 94, 7) == visit_bits << 32 | 94 << 24 | 7


def test_negative_id_is_refused() -> None:
    assert unpack_id(0, dated=False) == PackedId(0, 0, 0)
    with pytest.raises(ValueError, match="-1"):
        unpack_id(-1, dated=False)
