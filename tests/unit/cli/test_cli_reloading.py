"""A page's process that follows its code."""

from __future__ import annotations

from pathlib import Path

import pytest

from prompt_processing.cli.pages.reloading import code_folders, newest_change


def test_code_that_comes_later_is_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    folders = code_folders()
    before = newest_change(folders)
    assert before[0] > 100
    (tmp_path / "prompt_processing").mkdir()
    (tmp_path / "prompt_processing/notes.txt").write_text("no code")
    assert newest_change(folders) == before
    (tmp_path / "prompt_processing/new.py").write_text("x = 1\n")
    assert newest_change(folders) != before
