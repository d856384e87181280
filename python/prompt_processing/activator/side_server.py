"""``/metrics`` and ``/health`` for a process whose workers are all busy."""

from __future__ import annotations

import json
import logging
import threading
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
    """A small HTTP server in a thread.

    Parameters
    ----------
    port : `int`
        Where it listens; 0 for no server at all.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        """Begin to answer."""
        if not self._port or self._server is not None:
            return
        try:
            self._server = ThreadingHTTPServer(("", self._port), _Handler)
        except OSError as error:
            raise SystemExit(f"METRICS_PORT {self._port} cannot be used: {error}") from error
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="side-server", daemon=True).start()
        _log.info("Metrics and health are served on port %d.", self._port)

    def forget(self) -> None:
        """Close a forked process's copy of the socket; the thread is not there any more."""
        if self._server is not None:
            self._server.socket.close()
            self._server = None

    def stop(self) -> None:
        """Stop answering."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
