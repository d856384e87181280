"""Whose local repositories are removed when, and whose never."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from prompt_processing.butler.local.folder import LocalFolder

HOLDER = """
import sys, time
from prompt_processing.butler.local.folder import LocalFolder
folder = LocalFolder.make(sys.argv[1])
(folder.path / "gen3.sqlite3").write_text("registry")
print(folder.path, flush=True)
time.sleep(600)
"""


def start_holder(parent: Path) -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(parent)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_folder_of_a_killed_worker_is_removed_by_the_next(tmp_path: Path) -> None:
    process, left = start_holder(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.wait(20)
    assert left.is_dir()
    mine = LocalFolder.make(str(tmp_path))
    assert list(tmp_path.iterdir()) == [mine.path]
    mine.remove()
    assert list(tmp_path.iterdir()) == []


def test_folder_of_a_worker_that_lives_stays(tmp_path: Path) -> None:
    process, held = start_holder(tmp_path)
    try:
        mine, other = LocalFolder.make(str(tmp_path)), LocalFolder.make(str(tmp_path))
        assert {held, mine.path, other.path} == set(tmp_path.iterdir())
        mine.remove()
        other.remove()
    finally:
        process.kill()
        process.wait(20)


def test_what_is_no_repository_of_ours_stays(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "in-use").touch()
    (tmp_path / "butler-00000000").symlink_to(precious)
    (tmp_path / "butler-11111111").mkdir()
    (tmp_path / "butler-too-long-a-name").mkdir()
    before = set(tmp_path.iterdir())
    LocalFolder.make(str(tmp_path)).remove()
    assert set(tmp_path.iterdir()) == before
    assert (precious / "in-use").exists()


def test_folder_in_a_directory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError):
        LocalFolder.make(str(tmp_path / "absent"))
    assert len(os.listdir("/proc/self/fd")) == descriptors
