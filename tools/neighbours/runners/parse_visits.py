"""Parse visits by the reference worker's own code: POSTed as CloudEvents, or from a Redis stream.

Usage: parse_visits.py PYTHON_FOLDER http PORT
       parse_visits.py PYTHON_FOLDER redis HOST:PORT STREAM GROUP COUNT

Each visit is printed as a line of JSON.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from stand_ins import stand_in

folder, kind, *arguments = sys.argv[1:]
sys.path.insert(0, folder)
os.environ |= {"RUBIN_INSTRUMENT": "LSSTCam"}
stand_in("activator.activator", "activator.repo_tracker")


def write_line(content: dict[str, Any]) -> None:
    # One write: requests are answered by several threads.
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


def show(visit: Any) -> None:
    write_line(dataclasses.asdict(visit))


if kind == "http":
    from activator.driver_gunicorn import parse_next_visit

    class Request:
        def __init__(self, headers: Any, body: bytes) -> None:
            self.headers, self._body = headers, body

        def get_data(self) -> bytes:
            return self._body

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            try:
                show(parse_next_visit(Request(self.headers, body)))
                status = 200
            except Exception as error:  # noqa: BLE001
                write_line({"error": f"{type(error).__name__}: {error}"})
                status = 500
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    ThreadingHTTPServer(("127.0.0.1", int(arguments[0])), Handler).serve_forever()
else:
    import redis

    address, stream, group, count = arguments
    os.environ |= {
        "REDIS_STREAM_HOST": address,
        "REDIS_STREAM_NAME": stream,
        "REDIS_STREAM_CONSUMER_GROUP": group,
    }
    from activator.driver_keda import RedisStreamSession
    from shared.visit import FannedOutVisit

    host, port = address.split(":")
    client = redis.Redis(host=host, port=int(port))
    for _ in range(int(count)):
        message = client.xreadgroup(
            streams={stream: ">"}, consumername="c", groupname=group, count=1, block=40_000
        )
        _, fields = RedisStreamSession._decode_redis_streams_message(message)
        show(FannedOutVisit.from_dict(fields))
