"""What a person of the hub finds: data of the night, and tutorials that stay the person's own."""

from __future__ import annotations

from pathlib import Path

from prompt_processing.hub import NightData
from prompt_processing.hub.spawner import prepare_home


def test_data_of_both_kinds_of_demo_are_found(tmp_path: Path) -> None:
    kept, small = tmp_path / "kept", tmp_path / "small"
    for folder in (kept / "repository", kept / "alerts", small / "repo", small / "night/alerts"):
        folder.mkdir(parents=True)
    (kept / "night.db").touch()
    (small / "cameras").mkdir()
    assert NightData.of_demo(kept).environment() == {
        "CENTRAL_REPO": str(kept / "repository"),
        "NIGHTS_DATABASE": str(kept / "night.db"),
        "ALERTS": str(kept / "alerts"),
    }
    assert NightData.of_demo(small).environment() == {
        "CENTRAL_REPO": str(small / "repo"),
        "ALERTS": str(small / "night/alerts"),
        "PROMPT_INSTRUMENT_PATH": str(small / "cameras"),
    }


def test_edited_tutorial_is_kept_and_a_new_one_is_added(tmp_path: Path) -> None:
    tutorials, home = tmp_path / "tutorials", tmp_path / "home"
    tutorials.mkdir()
    (tutorials / "a.ipynb").write_text("first")
    prepare_home(home, tutorials)
    (home / "tutorials" / "a.ipynb").write_text("mine")
    (tutorials / "b.ipynb").write_text("new")
    prepare_home(home, tutorials)
    found = {path.name: path.read_text() for path in (home / "tutorials").iterdir()}
    assert found == {"a.ipynb": "mine", "b.ipynb": "new"}
    assert home.stat().st_mode & 0o077 == 0
