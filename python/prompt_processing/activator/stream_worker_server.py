"""``/metrics``, ``/health`` and ``/version`` of a stream worker, which nobody sends requests otherwise."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from prompt_processing.activator.storage.running_version import RunningVersion


class StreamWorkerServer:
    """A small HTTP server in threads of the worker's own process.

    ``/health/live`` answers as long as the process can, ``/health`` and
    ``/health/ready`` with 503 while a visit would not find the repositories
    open. A visit that is stuck ends the process by itself, so that no probe
    has to find that out.

    Parameters
    ----------
    port : `int`
        Where it listens; 0 for no server at all.
    registry : `prometheus_client.CollectorRegistry`
        The metrics.
    ready : callable
        Tells whether the repositories are open.
    version : callable
        Tells what runs.
    """

    def __init__(
        self,
        port: int,
        registry: CollectorRegistry,
        ready: Callable[[], bool],
        version: Callable[[], RunningVersion],
    ) -> None:
        self._port = port
        self._registry = registry
        self._ready = ready
        self._version = version
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        """Begin to answer.

        Raises
        ------
        OSError
            Raised if the port cannot be used.
        """
        if not self._port:
            return
        self._server = ThreadingHTTPServer(("", self._port), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True).start()

    def stop(self) -> None:
        """Stop answering."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _answer(self, path: str) -> tuple[int, str, bytes]:
        match path.split("?")[0].rstrip("/"):
            case "/metrics":
                return 200, CONTENT_TYPE_LATEST, generate_latest(self._registry)
            case "/health/live":
                return 200, "application/json", json.dumps({"live": True}).encode()
            case "/health" | "/health/ready":
                ready = self._ready()
                body = json.dumps({"live": True, "ready": ready}).encode()
                return 200 if ready else 503, "application/json", body
            case "/version":
                return 200, "application/json", json.dumps(self._version().as_dict()).encode()
            case _:
                return 404, "text/plain", b"Not found.\n"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        answer = self._answer

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, content_type, body = answer(self.path)
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                # Probes come every few seconds.
                pass

        return Handler
