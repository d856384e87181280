"""Process of one server, which can be started, awaited, disturbed and stopped."""

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
    """A server did not start or does not respond; the message holds the end of its log."""


@dataclass(frozen=True)
class ServerCommand:
    """Command that starts a server.

    Attributes
    ----------
    arguments
        Program and arguments.
    environment
        Variables added to this process's environment.
    folder
        Working directory.
    user
        User id to run as; `None` for the current user.
    stop_signal
        Signal for an orderly shutdown.
    """

    arguments: Sequence[str]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    user: int | None = None
    stop_signal: int = signal.SIGTERM


class Server:
    """Process of a server.

    Parameters
    ----------
    name
        Name for messages.
    command
        Command that starts the server.
    ready
        Returns whether the server responds.
    log
        File to which the output is appended.
    detached
        Whether the server outlives this process.
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
        """Whether the process runs."""
        if self._popen is not None:
            return self._popen.poll() is None
        return self._process is not None and _lives(self._process)

    @property
    def answers(self) -> bool:
        """Whether the server runs and responds."""
        return self.running and self._ready()

    @property
    def identity(self) -> tuple[int, float] | None:
        """Process id and time of creation (Unix seconds), which together identify the process uniquely."""
        return None if self._process is None else (self._process.pid, self._process.create_time())

    def adopt(self, pid: int, created: float) -> None:
        """Adopt a server that another process has started.

        Parameters
        ----------
        pid
            Process id.
        created
            Time of creation, Unix seconds; a process with the same id and another time is ignored.
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
        """Wait until the server responds.

        Parameters
        ----------
        timeout
            Time limit, seconds.

        Raises
        ------
        ServerFailedError
            Raised if the process ends, or the server does not respond in time.
        """
        deadline = time.monotonic() + timeout
        while not self._ready():
            if not self.running:
                raise ServerFailedError(f"{self.name} exited; its log is {self.log}:\n{self._log_tail()}")
            if time.monotonic() > deadline:
                raise ServerFailedError(
                    f"{self.name} does not respond after {timeout:g} s; its log is {self.log}:\n"
                    f"{self._log_tail()}"
                )
            time.sleep(0.1)

    def stop(self, timeout: float = 20.0) -> None:
        """Stop the server in order, or kill it if that takes too long.

        Parameters
        ----------
        timeout
            Seconds to wait before killing it.
        """
        self._signal(self._command.stop_signal)
        # A paused process would not receive the signal.
        self._signal(signal.SIGCONT)
        if not self._wait(timeout):
            self.kill()

    def kill(self) -> None:
        """Kill the server, as a crash would."""
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
        """Suspend the server; its connections stay open."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Resume a paused server."""
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
        """Wait for the end of this process, or of one that was detached from it."""
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
    # No server may outlive this process, even if it is killed.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)


def _lives(process: psutil.Process) -> bool:
    # A container may have no init process to reap orphans, which remain as zombies.
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
