"""``/metrics`` and ``/health`` for a process whose workers are all busy."""

from __future__ import annotations

import logging
import os
import signal
from contextlib import suppress

import psutil

from prompt_processing.telemetry.health import Health
from prompt_processing.telemetry.pages import LoggingServer, Pages, handler_of

_log = logging.getLogger("lsst.activator.side_server")


def _pages(master: int) -> Pages:
    def metrics() -> bytes:
        # Imported late: the client library reads its environment once, and gunicorn_conf sets that first.
        from prompt_processing.telemetry.metrics import render_all

        return render_all()

    def workers() -> int:
        from prompt_processing.telemetry.metrics import workers_ready

        return workers_ready()

    # Without the deployment's id: only the workers read the pipelines.
    return Pages(
        Health(
            live={"master": lambda: _runs(master)},
            ready={"workers": lambda: workers() > 0},
            details=lambda: {"workers": workers()},
        ),
        metrics,
    )


def _runs(pid: int) -> bool:
    """Return whether a process runs; a stopped process or a zombie cannot replace dead workers."""
    try:
        return psutil.Process(pid).status() not in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class SideServer:
    """A small HTTP server in its own process.

    It is not a thread of gunicorn's master, because the master forks workers:
    a lock that a thread holds at that moment stays locked in the worker.

    Parameters
    ----------
    port : `int`
        Port to listen on; 0 for no server.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._pid = 0

    def start(self) -> None:
        """Start the server; call this while the process has only one thread.

        Raises
        ------
        OSError
            Raised if the port is unavailable.
        """
        if not self._port:
            return
        parent = os.getpid()
        server = LoggingServer(("", self._port), handler_of(_pages(parent).answer))
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
            # Skip the exit handlers inherited from the parent.
            os._exit(status)

    def stop(self) -> None:
        """Stop the server."""
        if self._pid:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGTERM)
            with suppress(ChildProcessError):
                os.waitpid(self._pid, 0)
            self._pid = 0


def _serve(server: LoggingServer, parent: int) -> None:
    # Ctrl-C reaches the whole process group, but this process ends only with its parent.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    server.timeout = 1.0
    while os.getppid() == parent:
        server.handle_request()
