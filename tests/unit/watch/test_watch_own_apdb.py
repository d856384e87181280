"""The watcher's own APDB is complete, wherever its creation was cut short."""

from pathlib import Path

import pytest

from prompt_processing.apdb.administration import status
from prompt_processing.watch.own_apdb import own_apdb


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_creation_that_was_cut_short_is_finished_by_the_next(
    steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = 0
    rename = Path.rename

    def cut_short(path: Path, target: Path) -> Path:
        nonlocal done
        if done == steps:
            raise KeyboardInterrupt
        done += 1
        return rename(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", cut_short)
        if steps < 2:
            with pytest.raises(KeyboardInterrupt):
                own_apdb(tmp_path)
        else:
            own_apdb(tmp_path)
    config = own_apdb(tmp_path)
    found = status(str(config))
    assert found.compatible
    assert found.development is not None
    assert set(found.rows.values()) == {0}
    assert f"{tmp_path}/apdb.db" in config.read_text()
    assert own_apdb(tmp_path) == config


def test_half_a_database_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "apdb-unfinished.db").write_bytes(b"SQLite format 3\0 and no more")
    (tmp_path / "apdb-unfinished.yaml").write_text("half")
    assert status(str(own_apdb(tmp_path))).compatible
    assert not list(tmp_path.glob("apdb-unfinished.*"))
