import io
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import fastavro
import pytest

from prompt_processing.transport.schema_registry import (
    SchemaRegistry,
    SchemaRegistryError,
    UnknownSchemaError,
    frame,
    unframe,
)

SCHEMA = {
    "type": "record",
    "name": "visit",
    "fields": [{"name": "groupId", "type": "string"}, {"name": "nimages", "type": "int"}],
}


class Server(ThreadingHTTPServer):
    schemas: dict[int, str]
    answers: dict[str, dict[str, Any]]
    """Whole answers by path, which take precedence over the schemas."""
    requests: list[str]
    failing: int | None = None
    """Status that every request is answered with; `None` for correct answers."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def answer(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(self.server.failing or status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        if self.path in self.server.answers:
            self.answer(200, self.server.answers[self.path])
            return
        schema = self.server.schemas.get(int(self.path.rsplit("/", 1)[1]))
        if schema is None:
            self.answer(404, {"error_code": 40403})
        else:
            self.answer(200, {"schema": schema})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = {schema: number for number, schema in self.server.schemas.items()}
        number = known.get(body["schema"], len(known) + 41)
        self.server.schemas[number] = body["schema"]
        self.answer(200, {"id": number})

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        server.schemas, server.answers, server.requests = {}, {}, []
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def registry(server: Server) -> SchemaRegistry:
    return SchemaRegistry(f"http://127.0.0.1:{server.server_port}/")


def encoded(schema_id: int) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(SCHEMA), {"groupId": "g", "nimages": 2})
    return frame(schema_id, out.getvalue())


def test_schema_id_is_big_endian_after_the_magic_byte() -> None:
    assert frame(258, b"x") == b"\x00\x00\x00\x01\x02x"
    assert unframe(b"\x00\x00\x00\x01\x02x") == (258, b"x")


@pytest.mark.parametrize("message", [b"", b"\x00\x00\x00", b'{"a": 1}'])
def test_unframed_bytes_are_refused(message: bytes) -> None:
    with pytest.raises(ValueError, match="framing"):
        unframe(message)


def test_registered_schema_decodes_what_it_encoded(registry: SchemaRegistry, server: Server) -> None:
    schema_id = registry.register("next-visit-topic-value", SCHEMA)
    for _ in range(3):
        assert registry.decode(encoded(schema_id)) == {"groupId": "g", "nimages": 2}
    assert server.requests == [f"/schemas/ids/{schema_id}"]


def test_datum_of_another_schema_is_a_value_error(registry: SchemaRegistry) -> None:
    schema_id = registry.register("s", SCHEMA)
    for datum in (b"", b"\xff\xff\xff\xff", b"\x08ab"):
        with pytest.raises(ValueError, match=r".*"):
            registry.decode(frame(schema_id, datum))


def test_unknown_schema_differs_from_silent_registry(registry: SchemaRegistry) -> None:
    with pytest.raises(UnknownSchemaError):
        registry.decode(encoded(7))
    with pytest.raises(SchemaRegistryError):
        SchemaRegistry("http://127.0.0.1:9", timeout_s=1).decode(encoded(7))


@pytest.mark.parametrize("status", [204, 300, 401, 403, 409, 500, 503])
def test_failing_registry_is_asked_again_and_its_status_is_reported(
    registry: SchemaRegistry, server: Server, status: int
) -> None:
    schema_id = registry.register("s", SCHEMA)
    server.failing = status
    with pytest.raises(SchemaRegistryError, match=str(status)) as caught:
        registry.decode(encoded(schema_id))
    assert ("KAFKA_SCHEMA_REGISTRY_PASSWORD" in str(caught.value)) == (status in (401, 403))
    with pytest.raises(SchemaRegistryError, match=str(status)):
        registry.register("s", SCHEMA)
    server.failing = None
    assert registry.decode(encoded(schema_id))["groupId"] == "g"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"schemaType": "JSON", "schema": "{}"}, "is of the type 'JSON', not Avro"),
        ({"schemaType": "PROTOBUF", "schema": 'syntax = "proto3";'}, "is of the type 'PROTOBUF'"),
        ({"schema": "{}"}, "not a valid Avro schema"),
        ({"schema": '{"type": "other.thing"}'}, "not a valid Avro schema: .*other.thing"),
        ({"schema": "[["}, "not a valid Avro schema"),
    ],
)
def test_schema_that_can_never_be_used_is_not_waited_for(
    registry: SchemaRegistry, server: Server, answer: dict[str, Any], reason: str
) -> None:
    server.answers["/schemas/ids/5"] = answer
    with pytest.raises(UnknownSchemaError, match=f"schema 5 .*{reason}"):
        registry.decode(encoded(5))


@pytest.mark.parametrize("answer", [{}, {"schema": None}, {"schema": "{}", "references": [1]}])
def test_answer_without_a_schema_may_be_better_later(
    registry: SchemaRegistry, server: Server, answer: dict[str, Any]
) -> None:
    server.answers["/schemas/ids/5"] = answer
    with pytest.raises(SchemaRegistryError, match="schema registry returned"):
        registry.decode(encoded(5))


def test_types_of_other_subjects_are_read(registry: SchemaRegistry, server: Server) -> None:
    group = {"type": "record", "name": "sal.group", "fields": [{"name": "id", "type": "sal.text"}]}
    whole = {"type": "record", "name": "sal.visit", "fields": [{"name": "group", "type": "sal.group"}]}
    text = {"type": "enum", "name": "sal.text", "symbols": ["a", "b"]}

    def answer(schema: dict[str, Any], *subjects: str) -> dict[str, Any]:
        references = [{"name": "any", "subject": subject, "version": 2} for subject in subjects]
        return {"schema": json.dumps(schema), "schemaType": "AVRO", "references": references}

    server.answers["/schemas/ids/5"] = answer(whole, "sal/group", "text")
    server.answers["/subjects/sal%2Fgroup/versions/2"] = answer(group, "text")
    server.answers["/subjects/text/versions/2"] = answer(text, "sal/group")
    for _ in range(2):
        assert registry.decode(frame(5, b"\x02")) == {"group": {"id": "b"}}
    assert len(server.requests) == 3
