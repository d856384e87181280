"""Which folders are trusted, and that nothing is taken from the others."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from prompt_processing.alerts.files import KEPT, UNDERWAY, AlertFile, kept_files, underway_files
from prompt_processing.alerts.packets import Alert
from prompt_processing.alerts.resending import move_to_store, resend_kept_alerts
from prompt_processing.alerts.stream_settings import AlertStreamSettings
from prompt_processing.alerts.unsent import UnsentAlerts
from prompt_processing.butler.local.folder import LocalFolder
from prompt_processing.operators.local_content import read_content
from prompt_processing.transport.kafka import KafkaSettings
from prompt_processing.transport.private_folder import (
    UntrustedFolderError,
    is_private,
    make_private,
    require_private,
)

ALERTS = [Alert(number, bytes([number]) * 100) for number in range(3)]


@pytest.fixture(params=["writable by all", "writable by a group", "link", "file"])
def untrusted(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder that somebody else can have filled."""
    folder = tmp_path / "folder"
    match request.param:
        case "link":
            (tmp_path / "elsewhere").mkdir(mode=0o700)
            folder.symlink_to(tmp_path / "elsewhere")
        case "file":
            folder.touch()
        case mode:
            folder.mkdir()
            folder.chmod(0o777 if mode == "writable by all" else 0o770)
    return folder


def belongs_to_another(monkeypatch: pytest.MonkeyPatch, difference: int = 1) -> None:
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + difference)


def test_private_folder_is_made_for_this_user_alone(tmp_path: Path) -> None:
    folder = make_private(tmp_path / "not there" / "folder")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert is_private(folder)
    assert make_private(folder) == folder


def test_folder_that_others_could_only_read_is_closed_to_them(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o755)
    assert make_private(folder).stat().st_mode & 0o777 == 0o700


def test_folder_that_somebody_else_can_have_filled_is_refused(untrusted: Path) -> None:
    for refuse in (make_private, require_private):
        with pytest.raises(UntrustedFolderError, match=str(untrusted)):
            refuse(untrusted)
    assert not is_private(untrusted)


def test_link_is_refused_as_such_even_if_it_leads_to_a_private_folder(tmp_path: Path) -> None:
    make_private(tmp_path / "elsewhere")
    (tmp_path / "folder").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UntrustedFolderError, match="symbolic link"):
        require_private(tmp_path / "folder")


def test_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_private(tmp_path / "folder")
    belongs_to_another(monkeypatch)
    with pytest.raises(UntrustedFolderError, match=f"belongs to user {folder.stat().st_uid}"):
        make_private(folder)


def test_planted_alerts_are_neither_sent_nor_moved(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder, store = tmp_path / "unsent-alerts", tmp_path / "store"
    for suffix in (KEPT, UNDERWAY):
        AlertFile.write(folder, 1, 2, 60000.5, ALERTS, suffix).release()
    folder.chmod(0o777)
    before = sorted(folder.iterdir())
    settings = AlertStreamSettings(
        KafkaSettings(bootstrap_servers="localhost:1"), "alerts", folder, keep_store=str(store)
    )
    for find in (kept_files, underway_files):
        with pytest.raises(UntrustedFolderError):
            find(folder)
    for act in (lambda: resend_kept_alerts(settings), lambda: move_to_store(settings)):
        with pytest.raises(UntrustedFolderError):
            act()
    # A worker goes on without.
    alerts = UnsentAlerts(settings, "nowhere.yaml")
    with caplog.at_level(logging.ERROR):
        alerts.begin()
        alerts.store()
        alerts.end()
    assert len(caplog.records) == 4
    assert all(str(folder) in record.getMessage() for record in caplog.records)
    assert sorted(folder.iterdir()) == before
    assert not store.exists()


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_planted_file_that_is_not_one_is_passed_over(tmp_path: Path, kind: str) -> None:
    folder = make_private(tmp_path / "unsent-alerts")
    planted = folder / f"3_4.aaaaaaaa{KEPT}"
    if kind == "link":
        elsewhere = AlertFile.write(tmp_path / "elsewhere", 3, 4, 60000.5, ALERTS, KEPT)
        elsewhere.release()
        planted.symlink_to(elsewhere.path)
    else:
        os.mkfifo(planted)
    with pytest.raises(OSError, match=planted.name):
        AlertFile.claim(planted)


@pytest.mark.parametrize("difference", [-1, 1])
def test_planted_file_of_another_user_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, difference: int
) -> None:
    file = AlertFile.write(tmp_path / "unsent-alerts", 3, 4, 60000.5, ALERTS, KEPT)
    file.release()
    belongs_to_another(monkeypatch, difference)
    with pytest.raises(OSError, match=file.path.name):
        AlertFile.claim(file.path)


def test_alerts_are_not_written_where_others_can_change_them(untrusted: Path) -> None:
    with pytest.raises(UntrustedFolderError):
        AlertFile.write(untrusted, 1, 2, 60000.5, ALERTS, UNDERWAY)


def test_local_repository_that_others_can_write_to_is_neither_removed_nor_read(tmp_path: Path) -> None:
    left = LocalFolder.make(str(tmp_path))
    left.path.chmod(0o777)
    os.close(left._descriptor)
    LocalFolder.make(str(tmp_path)).remove()
    assert left.path.is_dir()
    with pytest.raises(UntrustedFolderError):
        read_content(left.path)


COMPILE = """
import sys
import numba

@numba.njit(cache=True)
def double(x):
    return 2 * x

print(double(21), double.stats.cache_path)
"""


def compile_in(tmp: Path, script: Path) -> tuple[Path, str]:
    """Return where a process keeps what it compiles, and its messages."""
    environment = {
        "PATH": os.environ["PATH"],
        "TMPDIR": str(tmp),
        "NUMBA_CACHE_LOCATOR_CLASSES": "prompt_processing.compilation.shipped_code.ShippedCodeLocator",
    }
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, check=True
    )
    answer, path = done.stdout.split()
    assert answer == "42"
    return Path(path), done.stderr


def test_compiled_code_is_kept_privately_and_not_taken_from_a_planted_folder(tmp_path: Path) -> None:
    script = tmp_path / "double.py"
    script.write_text(COMPILE)
    mine = tmp_path / f"prompt-compiled-{os.geteuid()}"
    used, _ = compile_in(tmp_path, script)
    assert used.parent == mine
    assert is_private(mine)
    mine.chmod(0o777)
    used, said = compile_in(tmp_path, script)
    assert used.parent != mine
    assert str(mine) in said
    assert not used.parent.exists(), "what is of no use to the next process is removed"
