"""Forks that stand for commands in other tests behave as the commands do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from warm_commands import WarmCommands

pytestmark = pytest.mark.integration


def test_fork_has_the_streams_the_folder_and_the_status_of_the_command(
    warm_start: WarmCommands, tmp_path: Path
) -> None:
    (tmp_path / "night.log").write_text("not a line of the service\n")
    options = {"cwd": tmp_path, "capture_output": True, "text": True, "check": False}
    command = [sys.executable, "-m", "prompt_processing"]
    shown = subprocess.run([*command, "logs", "--lines", "night.log"], **options)  # type: ignore[call-overload]
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "not a line of the service" in shown.stdout
    refused = subprocess.run([*command, "logs", "absent.log"], **options)  # type: ignore[call-overload]
    assert refused.returncode == 2
    assert "absent.log" in refused.stderr
    assert warm_start.running() == []


def test_other_programs_are_those_of_the_environment(warm_start: WarmCommands) -> None:
    code = "import os, sys; print(sys.executable, os.getppid())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    executable, parent = done.stdout.split()
    assert Path(executable).parent == Path(sys.prefix) / "bin"
    assert int(parent) == os.getpid()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_signal_to_the_command_ends_its_fork(warm_start: WarmCommands, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "prompt_processing.demo.object_store"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("ready ")
        assert warm_start.running()
        process.send_signal(number)
        assert process.wait(60) == -number
    deadline = time.monotonic() + 60
    while warm_start.running():
        assert time.monotonic() < deadline, warm_start.running()
        time.sleep(0.05)
