"""The pages ``/metrics``, ``/health`` and ``/version``, and a small server for them."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .health import Health
from .running_version import RunningVersion

__all__ = ["Answer", "LoggingServer", "PageServer", "Pages", "handler_of"]

_LOG = logging.getLogger("lsst.telemetry.pages")

Answer = tuple[int, str, bytes]
"""Status, content type and body."""

_NOT_FOUND: Answer = (404, "text/plain", b"Not found.\n")


class Pages:
    """The pages of every process.

    Parameters
    ----------
    health : `~prompt_processing.telemetry.health.Health`
        Liveness and readiness.
    metrics : callable
        Returns the metrics in Prometheus's text format.
    version : callable, optional
        Returns the running version.
    """

    PATHS = ("/metrics", "/health", "/health/live", "/health/ready", "/version")

    def __init__(
        self,
        health: Health,
        metrics: Callable[[], bytes],
        version: Callable[[], RunningVersion] = RunningVersion.of_this_process,
    ) -> None:
        self._health = health
        self._metrics = metrics
        self._version = version

    def answer(self, path: str) -> Answer:
        """Answer a GET request.

        Parameters
        ----------
        path : `str`
            Path without query and final slash.
        """
        match path:
            case "/metrics":
                # Imported late: the library reads its environment once, and gunicorn_conf sets that first.
                from prometheus_client import CONTENT_TYPE_LATEST

                return 200, CONTENT_TYPE_LATEST, self._metrics()
            case "/health/live":
                return _json(*self._health.liveness())
            case "/health" | "/health/ready":
                return _json(*self._health.readiness())
            case "/version":
                return _json(200, self._version().as_dict())
            case _:
                return _NOT_FOUND


class LoggingServer(ThreadingHTTPServer):
    """An HTTP server whose errors go to the log; the library prints them between lines of dashes."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log why a request was not answered.

        Parameters
        ----------
        request, client_address
            The connection, and the address of the client.
        """
        error = sys.exception()
        if isinstance(error, ConnectionError):
            # A probe that did not wait for the answer.
            _LOG.debug("%s did not wait for its answer: %s", client_address, error)
        else:
            _LOG.error("A request of %s failed.", client_address, exc_info=error)


class PageServer:
    """A small HTTP server in threads of the process that it reports on.

    Parameters
    ----------
    port : `int`
        Port to listen on; 0 for no server.
    pages : `Pages`
        Pages to serve.
    """

    def __init__(self, port: int, pages: Pages) -> None:
        self._port = port
        self._pages = pages
        self._server: LoggingServer | None = None

    def start(self) -> None:
        """Start the server.

        Raises
        ------
        OSError
            Raised if the port is unavailable.
        """
        if not self._port:
            return
        self._server = LoggingServer(("", self._port), handler_of(self._pages.answer))
        threading.Thread(target=self._server.serve_forever, name="pages", daemon=True).start()

    def stop(self) -> None:
        """Stop the server."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


def handler_of(answer: Callable[[str], Answer]) -> type[BaseHTTPRequestHandler]:
    """Make a handler class for GET requests.

    Parameters
    ----------
    answer : callable
        Called with the path, without query and final slash.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, content_type, body = answer(self.path.split("?")[0].rstrip("/"))
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            # Probes come every few seconds.
            pass

    return Handler


def _json(status: int, content: Mapping[str, object]) -> Answer:
    return status, "application/json", json.dumps(content).encode()
