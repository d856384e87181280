"""One server as a process that can be started, waited for, disturbed and stopped."""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psutil

__all__ = ["Server", "ServerCommand", "ServerFailedError"]

_PR_SET_PDEATHSIG = 1


class ServerFailedError(RuntimeError):
    """A server did not start, or does not answer; the message holds the end of its log."""


@dataclass(frozen=True)
class ServerCommand:
    """How to start a server.

    Attributes
    ----------
    arguments : sequence of `str`
        Program and arguments.
    environment : mapping
        On top of this process's own.
    folder : `~pathlib.Path`
        Where it runs.
    user : `int` or `None`
        User id to run as, where it is not to be our own.
    stop_signal : `int`
        What makes it end soon and in order.
    """

    arguments: Sequence[str]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    user: int | None = None
    stop_signal: int = signal.SIGTERM


class Server:
    """A server's process.

    Parameters
    ----------
    name : `str`
        For people.
    command : `ServerCommand`
        How to start it.
    ready : callable
        Tells whether it answers.
    log : `~pathlib.Path`
        File that its output is appended to.
    detached : `bool`
        Whether it outlives this process.
    """

    def __init__(
        self, name: str, command: ServerCommand, ready: Callable[[], bool], log: Path, *, detached: bool
    ) -> None:
        self.name = name
        self.log = log
        self._command = command
        self._ready = ready
        self._detached = detached
        self._process: psutil.Process | None = None
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        if self._popen is not None:
            return self._popen.poll() is None
        return self._process is not None and _lives(self._process)

    @property
    def answers(self) -> bool:
        """Whether it can be used."""
        return self.running and self._ready()

    @property
    def identity(self) -> tuple[int, float] | None:
        """Process id and time of creation (Unix seconds), which together belong to no other process ever."""
        return None if self._process is None else (self._process.pid, self._process.create_time())

    def adopt(self, pid: int, created: float) -> None:
        """Take over a server that another process has started.

        Parameters
        ----------
        pid : `int`
            Its process id.
        created : `float`
            When it began, Unix seconds; a process of the same id and another time is not it.
        """
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            if abs(process.create_time() - created) < 0.01:
                self._process = process

    def start(self) -> None:
        """Start the process, unless it runs."""
        if self.running:
            return
        command = self._command
        die_with_us = functools.partial(_end_with_parent, command.stop_signal)
        output: IO[bytes]
        with self.log.open("ab") as output:
            self._popen = subprocess.Popen(
                list(command.arguments),
                cwd=command.folder,
                env={**os.environ, **command.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                user=command.user,
                extra_groups=None if command.user is None else [],
                preexec_fn=None if self._detached or sys.platform != "linux" else die_with_us,
            )
        self._process = psutil.Process(self._popen.pid)

    def wait_ready(self, timeout: float = 60.0) -> None:
        """Wait until it answers.

        Parameters
        ----------
        timeout : `float`, optional
            Seconds.

        Raises
        ------
        ServerFailedError
            Raised if it ends, or does not answer in time.
        """
        deadline = time.monotonic() + timeout
        while not self._ready():
            if not self.running:
                raise ServerFailedError(f"{self.name} ended; its log is {self.log}:\n{self._log_tail()}")
            if time.monotonic() > deadline:
                raise ServerFailedError(
                    f"{self.name} does not answer after {timeout:g} s; its log is {self.log}:\n"
                    f"{self._log_tail()}"
                )
            time.sleep(0.1)

    def stop(self, timeout: float = 20.0) -> None:
        """End it in order, or by force if that takes too long.

        Parameters
        ----------
        timeout : `float`, optional
            Seconds to wait before force is used.
        """
        self._signal(self._command.stop_signal)
        # One that was paused would not notice.
        self._signal(signal.SIGCONT)
        if not self._wait(timeout):
            self.kill()

    def kill(self) -> None:
        """End it at once, as a crash would."""
        process, self._process = self._process, None
        if process is None:
            return
        children = []
        with suppress(psutil.NoSuchProcess):
            children = process.children(recursive=True)
        for one in (process, *children):
            with suppress(psutil.NoSuchProcess):
                one.kill()
        self._wait(20.0, process)
        psutil.wait_procs(children, timeout=20.0)

    def pause(self) -> None:
        """Stop it from doing anything; its connections stay open."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal_all(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self.running and self._process is not None:
            with suppress(psutil.NoSuchProcess):
                self._process.send_signal(number)

    def _signal_all(self, number: int) -> None:
        if self._process is None:
            return
        with suppress(psutil.NoSuchProcess):
            for one in (self._process, *self._process.children(recursive=True)):
                one.send_signal(number)

    def _wait(self, seconds: float, process: psutil.Process | None = None) -> bool:
        """Wait for the end of the process, or of one that is no longer ours."""
        process = process or self._process
        if self._popen is not None:
            try:
                self._popen.wait(seconds)
            except subprocess.TimeoutExpired:
                return False
            return True
        deadline = time.monotonic() + seconds
        while process is not None and _lives(process):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def _log_tail(self, n_lines: int = 15) -> str:
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-n_lines:])
        except OSError:
            return ""


def _end_with_parent(number: int) -> None:
    # Even if this process is killed, nothing that it started may stay behind.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)


def _lives(process: psutil.Process) -> bool:
    # In a container there may be nobody to bury a process whose parent has ended.
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
