"""``/metrics`` and ``/health`` for a process whose workers are all busy."""

from __future__ import annotations

import logging
import os
import signal
from contextlib import suppress
from http.server import ThreadingHTTPServer

from .side_answers import NOT_FOUND, Answer, answer_json, handler_of

_log = logging.getLogger("lsst.activator.side_server")


def _answer(path: str) -> Answer:
    # Imported late: the client library looks at its environment once, and gunicorn_conf sets that first.
    from prometheus_client import CONTENT_TYPE_LATEST

    from prompt_processing.telemetry.metrics import render_all, workers_ready

    match path:
        case "/metrics":
            return 200, CONTENT_TYPE_LATEST, render_all()
        case "/health/live":
            return answer_json({"live": True})
        case "/health" | "/health/ready":
            workers = workers_ready()
            return answer_json(
                {"live": True, "ready": workers > 0, "workers": workers}, 200 if workers else 503
            )
        case "/version":
            # The deployment's id is known to those who read the pipelines: the workers.
            from prompt_processing.telemetry.running_version import RunningVersion

            return answer_json(RunningVersion.of_this_process().as_dict())
        case _:
            return NOT_FOUND


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
        server = ThreadingHTTPServer(("", self._port), handler_of(_answer))
        parent = os.getpid()
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
