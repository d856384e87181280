"""Processes of the demo: each has its own log and is stopped whatever happens."""

import atexit
import contextlib
import ctypes
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

__all__ = ["Process", "ProcessFailedError", "Processes", "end_with_parent"]

_PR_SET_PDEATHSIG = 1


class ProcessFailedError(RuntimeError):
    """A process of the demo did not start, or ended early; the message names its log."""


class Process:
    """One process with its log.

    Attributes
    ----------
    name
        Name in messages.
    log
        File of its output.
    serves
        Whether it has clients among the other processes, and reports when it is ready for them.
    """

    def __init__(self, name: str, log: Path, popen: "subprocess.Popen[bytes]", serves: bool) -> None:
        self.name = name
        self.serves = serves
        self.log = log
        self._popen = popen

    @property
    def pid(self) -> int:
        """Process id."""
        return self._popen.pid

    @property
    def exit_status(self) -> int | None:
        """Exit status; None while it runs."""
        return self._popen.poll()

    def wait_ready(self, timeout_s: float) -> str:
        """Wait for the line ``ready <address>`` on its standard output and return the address."""
        stream = self._popen.stdout
        assert stream is not None, "started without a ready line"
        deadline = time.monotonic() + timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(stream, selectors.EVENT_READ)
            while (left := deadline - time.monotonic()) > 0:
                if not selector.select(left):
                    break
                line = stream.readline().decode()
                if line.startswith("ready "):
                    return line.removeprefix("ready ").strip()
                if not line:
                    break
        raise ProcessFailedError(f"{self.name} did not start; see {self.log}\n{self.log_tail()}")

    def send_line(self) -> None:
        """Send an empty line to its standard input."""
        assert self._popen.stdin is not None, "started without an input"
        # If the process has ended, `wait` returns its status.
        with contextlib.suppress(BrokenPipeError):
            self._popen.stdin.write(b"\n")
            self._popen.stdin.flush()

    def end_input(self) -> None:
        """End its standard input."""
        if self._popen.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._popen.stdin.close()

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait for its end and return the exit status.

        Raises
        ------
        subprocess.TimeoutExpired
            If it takes longer.
        """
        return self._popen.wait(timeout_s)

    def check(self) -> None:
        """Check that it still runs.

        Raises
        ------
        ProcessFailedError
            If it does not.
        """
        if (status := self.exit_status) is not None:
            raise ProcessFailedError(
                f"{self.name} ended with status {status}; see {self.log}\n{self.log_tail()}"
            )

    def log_tail(self, n_lines: int = 15) -> str:
        """Return the last lines of the log."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-n_lines:])
        except OSError:
            return ""

    def terminate(self) -> None:
        """Ask it to end: close its input, which some servers wait for, and send SIGTERM."""
        self.end_input()
        if self._popen.poll() is None:
            self._popen.terminate()

    def kill(self, timeout_s: float) -> None:
        """Wait for its end, then kill it and its children."""
        try:
            self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._kill_group()
            self._popen.wait(10)
        # Children may survive a process that ended normally.
        self._kill_group()
        if self._popen.stdout is not None:
            self._popen.stdout.close()

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)


class Processes:
    """All processes of a demo; they are stopped in reverse order at the end of the context or of Python.

    Parameters
    ----------
    log_folder
        Folder of their logs, one file each.
    environment
        Variables for all of them, in addition to this process's environment.
    """

    def __init__(self, log_folder: Path, environment: Mapping[str, str]) -> None:
        self._log_folder = log_folder
        self._environment = dict(environment)
        self._running: list[Process] = []
        log_folder.mkdir(parents=True, exist_ok=True)
        atexit.register(self.stop)

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def start(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        reports_ready: bool = False,
        takes_lines: bool = False,
    ) -> Process:
        """Start a program installed beside this interpreter, or the interpreter itself (``python``).

        Parameters
        ----------
        name
            Of the process and of its log.
        command
            Program and arguments.
        environment
            Variables for this process alone.
        reports_ready
            Whether its standard output is for `Process.wait_ready` instead of for the log, and its standard
            input a pipe that closes when this process ends.
        takes_lines
            Whether its standard input is for `Process.send_line`.
        """
        log = self._log_folder / f"{name}.log"
        # From this environment, regardless of PATH.
        program = Path(sys.executable).with_name(command[0]) if command[0] != "python" else sys.executable
        words = [str(program), *command[1:]]
        output: IO[bytes]
        with log.open("ab") as output:
            popen = subprocess.Popen(
                words,
                env={**os.environ, **self._environment, **(environment or {})},
                stdin=subprocess.PIPE if reports_ready or takes_lines else subprocess.DEVNULL,
                stdout=subprocess.PIPE if reports_ready else output,
                stderr=output,
                # Its own group: Ctrl-C reaches only this process, which then stops all others in order.
                start_new_session=True,
                preexec_fn=end_with_parent if sys.platform == "linux" else None,
            )
        process = Process(name, log, popen, reports_ready)
        self._running.append(process)
        return process

    def check(self) -> None:
        """Check that every process still runs or has ended with status 0.

        Raises
        ------
        ProcessFailedError
            One has failed; the message names the first.
        """
        for process in self._running:
            if process.exit_status not in (None, 0):
                process.check()

    def stop(self) -> None:
        """Stop all: the clients first, then the servers."""
        running, self._running = self._running, []
        for batch in ([p for p in running if not p.serves], [p for p in running if p.serves]):
            for process in reversed(batch):
                process.terminate()
            for process in reversed(batch):
                process.kill(timeout_s=20.0)


def end_with_parent() -> None:
    """Have this process, a new child, end even if its parent is killed; for Linux."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
