"""How the small servers beside the work answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler

__all__ = ["NOT_FOUND", "Answer", "answer_json", "handler_of"]

Answer = tuple[int, str, bytes]
"""Status, content type and body."""

NOT_FOUND: Answer = (404, "text/plain", b"Not found.\n")


def answer_json(content: Mapping[str, object], status: int = 200) -> Answer:
    """Return an answer in JSON."""
    return status, "application/json", json.dumps(content).encode()


def handler_of(answer: Callable[[str], Answer]) -> type[BaseHTTPRequestHandler]:
    """Make a handler of GET requests.

    Parameters
    ----------
    answer : callable
        Is given the path, without its query and the slash at its end.
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
