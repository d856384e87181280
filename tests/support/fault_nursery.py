"""Start workers by forking a process that has imported everything: a start then costs tenths of a second.

Run as a program, it reads requests from standard input, one JSON object per line, and answers each with a
process id.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

_PR_SET_PDEATHSIG = 1


class ForkedProcess:
    """A process started by the nursery, with the required part of `subprocess.Popen`."""

    def __init__(self, pid: int, status: Path) -> None:
        self.pid = pid
        self._status = status

    def poll(self) -> int | None:
        """Return the exit status, negative for a signal; `None` while it runs."""
        return int(self._status.read_text()) if self._status.exists() else None

    def wait(self, timeout: float) -> int:
        """Wait for the end."""
        deadline = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(0.02)
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Nursery:
    """The process that forks."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        support = str(Path(__file__).parent)
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (support, environment.get("PYTHONPATH"))))
        environment.pop("PROMETHEUS_MULTIPROC_DIR", None)
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(folder)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def start(self, program: str, environment: dict[str, str], folder: Path, log: Path) -> ForkedProcess:
        """Start ``worker``, ``writer`` or ``watch``."""
        request = {"program": program, "environment": environment, "folder": str(folder), "log": str(log)}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        answer = json.loads(self._process.stdout.readline())
        return ForkedProcess(answer["pid"], self._folder / f"{answer['pid']}.status")

    def close(self) -> None:
        """End the nursery and all processes that it has started."""
        self._process.kill()
        self._process.wait(20)


def _serve(statuses: Path) -> None:
    import fault_worker

    fault_worker.prepare()
    # A collection in a fork would look at all that was imported, and so copy its memory.
    gc.collect()
    gc.freeze()

    def bury(number: int, frame: FrameType | None) -> None:
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                made = statuses / f"{pid}.part"
                made.write_text(str(os.waitstatus_to_exitcode(status)))
                made.replace(statuses / f"{pid}.status")

    signal.signal(signal.SIGCHLD, bury)
    for line in sys.stdin:
        request = json.loads(line)
        # Callers wait for the log, so it must exist before the answer.
        Path(request["log"]).touch()
        pid = os.fork()
        if not pid:
            _become(request)
        (statuses / f"{pid}.status").unlink(missing_ok=True)
        print(json.dumps({"pid": pid}), flush=True)


def _become(request: dict[str, Any]) -> None:
    import fault_worker

    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["folder"])
        for descriptor, path, flags in (
            (0, os.devnull, os.O_RDONLY),
            (1, request["log"], os.O_WRONLY | os.O_APPEND),
            (2, request["log"], os.O_WRONLY | os.O_APPEND),
        ):
            opened = os.open(path, flags)
            os.dup2(opened, descriptor)
            os.close(opened)
        status = fault_worker.run(request["program"])
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
