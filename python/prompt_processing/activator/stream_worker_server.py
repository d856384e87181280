"""``/metrics``, ``/health`` and ``/version`` of a stream worker, which nobody sends requests otherwise."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from prompt_processing.telemetry.running_version import RunningVersion

from .side_answers import NOT_FOUND, Answer, answer_json, handler_of


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
        self._server = ThreadingHTTPServer(("", self._port), handler_of(self._answer))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True).start()

    def stop(self) -> None:
        """Stop answering."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _answer(self, path: str) -> Answer:
        match path:
            case "/metrics":
                return 200, CONTENT_TYPE_LATEST, generate_latest(self._registry)
            case "/health/live":
                return answer_json({"live": True})
            case "/health" | "/health/ready":
                ready = self._ready()
                return answer_json({"live": True, "ready": ready}, 200 if ready else 503)
            case "/version":
                return answer_json(self._version().as_dict())
            case _:
                return NOT_FOUND
