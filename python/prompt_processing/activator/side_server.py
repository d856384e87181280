"""``/metrics`` and ``/health`` for a process whose workers are all busy."""

from __future__ import annotations

import json
import logging
import os
import signal
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_log = logging.getLogger("lsst.activator.side_server")


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        # Imported late: the client library looks at its environment once, and gunicorn_conf sets that first.
        from prometheus_client import CONTENT_TYPE_LATEST

        from prompt_processing.telemetry.metrics import render_all, workers_ready

        match self.path.split("?")[0].rstrip("/"):
            case "/metrics":
                self._answer(200, CONTENT_TYPE_LATEST, render_all())
            case "/health/live":
                self._answer(200, "application/json", json.dumps({"live": True}).encode())
            case "/health" | "/health/ready":
                workers = workers_ready()
                body = json.dumps({"live": True, "ready": workers > 0, "workers": workers})
                self._answer(200 if workers else 503, "application/json", body.encode())
            case "/version":
                # The deployment's id is known to those who read the pipelines: the workers.
                from prompt_processing.activator.storage.running_version import RunningVersion

                body = json.dumps(RunningVersion.of_this_process().as_dict())
                self._answer(200, "application/json", body.encode())
            case _:
                self._answer(404, "text/plain", b"Not found.\n")

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        # Probes come every few seconds.
        pass


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
        server = ThreadingHTTPServer(("", self._port), _Handler)
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
