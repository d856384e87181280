"""A disk that is full under the local repository."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from fault_books import balance
from fault_process import RunningWorker
from fault_world import FaultWorld

pytestmark = pytest.mark.services

SIZE_MB = 48


def small_disk(folder: Path) -> list[str]:
    """Return a command that gives what it runs a small disk of its own at a folder."""
    mount = f'mount -t tmpfs -o size={SIZE_MB}m tmpfs "{folder}" && exec "$@"'
    commands = [["unshare", "--mount", "sh", "-c", mount, "sh"]]
    commands.append(["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh"])
    if shutil.which("unshare"):
        for command in commands:
            if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
                return command
    if os.environ.get("CI"):
        pytest.fail("A disk to fill needs unshare(1), as root or with user namespaces.")
    pytest.skip("needs unshare(1), as root or with user namespaces")


def fill(worker: RunningWorker, folder: Path) -> Path:
    """Leave no room on the worker's disk, which this process sees through the worker's eyes."""
    seen = Path(f"/proc/{worker.process.pid}/root{folder}")
    ballast = seen / "ballast"
    with ballast.open("wb", buffering=0) as output:
        try:
            while True:
                output.write(bytes(1 << 16))
        except OSError:
            pass
    return ballast


@pytest.mark.parametrize("gate", ["preload", "pipeline", "export"])
def test_full_disk_passes_and_leaves_nothing(fault_world: FaultWorld, gate: str) -> None:
    wrap = small_disk(fault_world.local)
    visit = fault_world.stream_visit(fault_world.visit())
    fault_world.put_raw(visit)
    fault_world.close(gate)
    worker = fault_world.start_stream_worker(wrap=wrap)
    fault_world.await_gate(gate)
    ballast = fill(worker, fault_world.local)
    fault_world.open(gate)
    fault_world.wait_until(lambda: bool(worker.outcomes()), "there is no outcome")
    ballast.unlink()
    (outcome,) = fault_world.await_outcomes()
    if gate == "preload":
        assert worker.outcomes()[0]["outcome"]["status"] == "retriable"
        assert outcome["status"] == "processed"
    following = fault_world.stream_visit(fault_world.visit())
    fault_world.put_raw(following)
    assert fault_world.await_outcomes(2)[-1]["status"] == "processed", fault_world.logs()
    balance(fault_world)
