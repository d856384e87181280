"""``/metrics`` and ``/health`` for a process whose workers are all busy."""

from __future__ import annotations

import logging
import os
import signal
from contextlib import suppress
from http.server import ThreadingHTTPServer

import psutil

from prompt_processing.telemetry.health import Health
from prompt_processing.telemetry.pages import Pages, handler_of

_log = logging.getLogger("lsst.activator.side_server")


def _pages(master: int) -> Pages:
    def metrics() -> bytes:
        # Imported late: the client library reads its environment once, and gunicorn_conf sets that first.
        from prompt_processing.telemetry.metrics import render_all

        return render_all()

    def workers() -> int:
        from prompt_processing.telemetry.metrics import workers_ready

        return workers_ready()

    # Without the deployment's id, which only those know who read the pipelines: the workers.
    return Pages(
        Health(
            live={"master": lambda: _runs(master)},
            ready={"workers": lambda: workers() > 0},
            details=lambda: {"workers": workers()},
        ),
        metrics,
    )


def _runs(pid: int) -> bool:
    """Return whether a process runs: one that is stopped or a zombie replaces no worker that dies."""
    try:
        return psutil.Process(pid).status() not in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class SideServer:
    """A small HTTP server in a process of its own.

    Not a thread of gunicorn's master: the master forks workers, and a lock
    that a thread holds at that moment stays locked in the worker for ever.

    Parameters
    ----------
    port : `int`
        Where it listens; 0 for no server at all.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._pid = 0

    def start(self) -> None:
        """Begin to answer; to be called while the process has one thread.

        Raises
        ------
        OSError
            Raised if the port cannot be used.
        """
        if not self._port:
            return
        parent = os.getpid()
        server = ThreadingHTTPServer(("", self._port), handler_of(_pages(parent).answer))
        self._pid = os.fork()
        if self._pid:
            server.server_close()
            _log.info("Metrics and health are served on port %d.", self._port)
            return
        status = 1
        try:
            _serve(server, parent)
            status = 0
        finally:
            # Without the exit handlers of the process that this is a copy of.
            os._exit(status)

    def stop(self) -> None:
        """Stop answering."""
        if self._pid:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGTERM)
            with suppress(ChildProcessError):
                os.waitpid(self._pid, 0)
            self._pid = 0


def _serve(server: ThreadingHTTPServer, parent: int) -> None:
    # Ctrl-C reaches the whole process group; the end of the parent is what ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    server.daemon_threads = True
    server.timeout = 1.0
    while os.getppid() == parent:
        server.handle_request()
