from pathlib import Path

import pytest

from prompt_processing.cli.main import run
from prompt_processing.instruments import RawKey, format_raw_key
from prompt_processing.tester.pool import PoolGroup, PoolRaw
from prompt_processing.tester.upload import draw, sal_index_of
from prompt_processing.tester.upload_hsc_rc2 import RepositoryRaw, choose


def group(number: int, instrument: str = "HSC") -> PoolGroup:
    key: RawKey = format_raw_key(
        instrument,
        0,
        number if instrument == "HSC" else 20250609_00000 + number,
        group=str(number),
        physical_filter="HSC-R2",
    )
    return PoolGroup(str(number), ((PoolRaw(key, f"unobserved/{key.key}"),),))


def visit(number: int) -> list[RepositoryRaw]:
    return [RepositoryRaw(group(number).raws[0].raw_key, "file:///nowhere")]


def test_groups_come_in_the_order_of_the_pool() -> None:
    pool = [group(n) for n in range(4)]
    assert [g.name for g in draw(pool, 3, None)] == ["0", "1", "2"]


def test_small_pool_is_gone_through_again() -> None:
    pool = [group(n) for n in range(2)]
    assert [g.name for g in draw(pool, 5, None)] == ["0", "1", "0", "1", "0"]


def test_seed_repeats_a_random_order() -> None:
    pool = [group(n) for n in range(20)]
    assert draw(pool, 10, 3) == draw(pool, 10, 3)
    assert draw(pool, 10, 3) != draw(pool, 10, 4)


def test_test_group_is_announced_by_its_original_exposure() -> None:
    assert sal_index_of("HSC", group(59134)) == 59134
    assert sal_index_of("LSSTCam", group(367, "LSSTCam")) == 2025060900367
    assert sal_index_of("LATISS", group(1, "LATISS")) == 999


def test_no_visit_is_drawn_twice_while_there_are_others() -> None:
    visits = [visit(n) for n in range(10)]
    assert sorted(v[0].raw_key.exposure for v in choose(visits, 10, 1, ordered=False)) == list(range(10))
    assert len(choose(visits, 25, 1, ordered=False)) == 25


def test_ordered_keeps_the_order_in_which_visits_were_taken() -> None:
    exposures = [v[0].raw_key.exposure for v in choose([visit(n) for n in range(50)], 10, 7, ordered=True)]
    assert exposures == sorted(exposures)


def test_help_explains_pool_and_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("tester", "upload", "--help") == 0
    shown = capsys.readouterr().out
    for word in ("unobserved/", "KAFKA_CLUSTER", "IMAGE_BUCKET", "S3_ENDPOINT_URL", "--seed"):
        assert word in shown


def test_missing_broker_is_reported_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("KAFKA_CLUSTER", raising=False)
    assert run("tester", "upload", "HSC", "1") == 2
    assert "KAFKA_CLUSTER: not set" in capsys.readouterr().err


def test_unknown_instrument_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("tester", "upload", "Kodak", "1") == 2
    assert "LSSTCam" in capsys.readouterr().err


@pytest.mark.parametrize("script", ["upload.py", "upload_hsc_rc2.py"])
def test_thin_scripts_are_where_the_playbook_says(script: str) -> None:
    path = Path(__file__).parents[3] / "python" / "tester" / script
    assert path.is_file()
    assert path.stat().st_mode & 0o111
