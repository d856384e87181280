"""Run the board under gunicorn."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication

from prompt_processing.nights.reading import Nights

from .app import make_app

__all__ = ["BoardOptions", "following", "serve"]


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
            # Imported once; the database is connected by the first request, after the fork.
            "preload_app": True,
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
        app = make_app(nights, self._options.prefix)
        # Read before the processes are forked, at a restart too: each of them has something to show at once,
        # and no viewer waits for its first reading. Connections must not be forked.
        app.test_client().get(f"/{self._options.prefix.strip('/')}/_view".replace("//", "/"))
        nights.close()
        return app


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
