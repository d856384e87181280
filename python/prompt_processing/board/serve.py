"""Run the board under gunicorn."""

from __future__ import annotations

import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from prompt_processing.nights.reading import Nights
from prompt_processing.telemetry.handover import in_this_context

from .app import make_app

__all__ = ["BoardOptions", "following", "serve"]

_LONGEST_READING_S = 5.0


@dataclass(frozen=True, slots=True)
class BoardOptions:
    """What the command line says.

    Attributes
    ----------
    database
        URL or path of the database of nights.
    address, port
        Where to listen.
    prefix
        Path under which browsers find the page.
    workers
        Number of processes.
    late_after
        Seconds after its announcement at which an unsettled visit is late.
    """

    database: str
    address: str = "127.0.0.1"
    port: int = 8000
    prefix: str = "/"
    workers: int = 2
    late_after: float = 300.0


class _Arbiter(Arbiter):
    """Start a process only after the last one can answer, so that a restart stops the old ones last."""

    readiness: tuple[socket.socket, socket.socket]

    def spawn_worker(self) -> int:
        """Start a process and wait until it is ready; only the parent returns."""
        number = int(super().spawn_worker())
        ours, its = self.readiness
        its.close()
        # Readable when the process is ready, and when it has died.
        select.select([ours], [], [], self.cfg.graceful_timeout)
        ours.close()
        return number


def _before_fork(arbiter: Any, worker: Any) -> None:
    arbiter.readiness = worker.readiness = socket.socketpair()


def _after_fork(worker: Any) -> None:
    """Read the night, so that viewers neither wait for a process nor see what its parent read long ago."""
    reading = threading.Thread(target=in_this_context(worker.app.read_night), daemon=True)
    reading.start()
    # A database that does not answer keeps no page away.
    reading.join(_LONGEST_READING_S)
    for one in worker.readiness:
        one.close()


class _Gunicorn(BaseApplication):
    def __init__(self, options: BoardOptions) -> None:
        self._options = options
        super().__init__()

    def load_config(self) -> None:
        options: dict[str, Any] = {
            "bind": f"{self._options.address}:{self._options.port}",
            "workers": self._options.workers,
            "worker_class": "gthread",
            "threads": 8,
            # Imported once; each process connects the database, after the fork.
            "preload_app": True,
            "pre_fork": _before_fork,
            "post_worker_init": _after_fork,
            "timeout": 30,
            "graceful_timeout": 10,
            "keepalive": 30,
            "proc_name": "prompt-board",
            # Liveness files in memory, where the root file system may be read-only or slow.
            "worker_tmp_dir": "/dev/shm" if Path("/dev/shm").is_dir() else None,
            "limit_request_line": 2000,
            "loglevel": "warning",
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        nights = Nights(self._options.database, late_after=self._options.late_after)
        return make_app(nights, self._options.prefix)

    def read_night(self) -> None:
        """Answer a first request, so that those of viewers find the night read."""
        self.wsgi().test_client().get(f"/{self._options.prefix.strip('/')}/_view".replace("//", "/"))

    def run(self) -> None:
        """Serve until asked to stop."""
        try:
            _Arbiter(self).run()
        except RuntimeError as error:
            sys.exit(f"Error: {error}")


def serve(options: BoardOptions) -> None:
    """Serve the board until asked to stop.

    Parameters
    ----------
    options
        What the command line says.
    """
    _Gunicorn(options).run()


@contextmanager
def following(folder: Path | None, database: str) -> Iterator[None]:
    """Keep the database of a folder of outcomes while the block runs.

    Parameters
    ----------
    folder
        Folder of outcomes; `None` to do nothing.
    database
        The database.
    """
    if folder is None:
        yield
        return
    # A process of its own, because gunicorn forks.
    command = [sys.executable, "-m", "prompt_processing", "nights", "project"]
    process = subprocess.Popen([*command, "--folder", str(folder), "--database", database])
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)
