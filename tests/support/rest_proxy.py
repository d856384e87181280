"""A Kafka REST proxy that accepts only requests that the real one would accept."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import fastavro
import pytest


@dataclass(frozen=True)
class Posted:
    """An accepted record."""

    topic: str
    schema: dict[str, Any]
    value: dict[str, Any]


class RestProxy(ThreadingHTTPServer):
    """A server that checks each post as Avro v2 in JSON, and keeps its records.

    It rejects requests with 415 or 422, as the real proxy does; ``refusals`` lists the reasons.
    """

    daemon_threads = True

    def __init__(self, token: str | None = None) -> None:
        self.posted: list[Posted] = []
        self.refusals: list[str] = []
        self.status = 200
        self.error_code: int | None = None
        self.released = threading.Event()
        self.released.set()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                proxy.released.wait(30)
                status, answer = proxy.take(self.path, dict(self.headers), body, token)
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/vnd.kafka.v2+json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def take(
        self, path: str, headers: dict[str, str], body: bytes, token: str | None
    ) -> tuple[int, dict[str, Any]]:
        if headers.get("Content-Type") != "application/vnd.kafka.avro.v2+json":
            return self.refuse(415, f"content type {headers.get('Content-Type')}")
        if token is not None and headers.get("Authorization") != f"Bearer {token}":
            return self.refuse(401, "no such token")
        if self.status != 200:
            return self.status, {"error_code": self.status, "message": "not now"}
        parts = path.split("/")
        try:
            if parts[:2] != ["", "topics"] or len(parts) != 3:
                raise ValueError(f"no such path: {path}")
            content = json.loads(body, parse_constant=_refuse_constant)
            schema = json.loads(content["value_schema"], parse_constant=_refuse_constant)
            parsed = fastavro.parse_schema(schema)
            if f"{schema['namespace']}.{schema['name']}" != parts[2]:
                raise ValueError(f"{schema['name']} on the topic {parts[2]}")
            taken = []
            for record in content["records"]:
                # Checked as plain JSON: in Avro's JSON encoding, unions would have to name their branch.
                (value,) = fastavro.json_reader(io.StringIO(json.dumps(record["value"])), parsed)
                if set(value) != set(record["value"]) or not fastavro.validate(value, parsed):
                    raise ValueError(f"{record} does not follow the schema")
                taken.append(Posted(parts[2], schema, value))
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            fastavro.schema.SchemaParseException,
        ) as error:
            return self.refuse(422, f"{type(error).__name__}: {error}")
        if self.error_code is None:
            self.posted += taken
        offset = {"partition": 0, "offset": 1, "error_code": self.error_code, "error": None}
        return 200, {"offsets": [offset for _ in taken], "value_schema_id": 1}

    def refuse(self, status: int, why: str) -> tuple[int, dict[str, Any]]:
        self.refusals.append(why)
        return status, {"error_code": status, "message": why}


def _refuse_constant(name: str) -> None:
    raise ValueError(f"JSON has no {name}")


@pytest.fixture
def rest_proxy() -> Iterator[RestProxy]:
    with RestProxy("hush-token") as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.released.set()
        server.shutdown()
