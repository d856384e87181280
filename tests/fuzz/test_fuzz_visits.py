"""Announcements of visits, whole and fanned out: whatever comes is a visit, or refused as malformed."""

from __future__ import annotations

import io
import json
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fastavro
import pytest
from fuzz_inputs import (
    NASTY_NUMBERS,
    SHARE,
    VALUES,
    VISIT,
    VISIT_SCHEMA,
    damaged,
    json_bytes,
    many_inputs,
    spoilt,
)
from hypothesis import given
from hypothesis import strategies as st

from prompt_processing.activator.services.visit_rules import VisitRules
from prompt_processing.domain.clock import day_obs, tai_to_utc
from prompt_processing.domain.errors import (
    IgnorableVisitError,
    InvalidVisitError,
    MalformedMessageError,
    NonRetriableError,
    StaleVisitError,
)
from prompt_processing.domain.selection import DegreeRange, PipelineSelection, SelectionNode
from prompt_processing.domain.visit import FannedOutVisit, NextVisit
from prompt_processing.fanout.messages import decode_next_visit
from prompt_processing.instruments.camera import load_camera
from prompt_processing.instruments.raw_key import visit_prefixes
from prompt_processing.telemetry.logs import LogContext
from prompt_processing.transport.schema_registry import SchemaRegistry, SchemaRegistryError, frame

HUGE = b"\xff" * 8 + b"\x7f"
PRINTABLE = st.characters(codec="utf-8", exclude_categories=["C"])
CAMERA = load_camera("LSSTCam")
SOMEWHERE = PipelineSelection(
    (SelectionNode(("a.yaml",), ra=DegreeRange(350, 10, wraps=True)), SelectionNode(("b.yaml",)))
)
RULES = VisitRules(CAMERA, SOMEWHERE, SOMEWHERE, expiration=float("inf"))


def use(visit: NextVisit) -> None:
    """Do with a visit what every reader of it does before it is processed."""
    now = time.time()
    assert isinstance(visit.age(now), float)
    share = visit if isinstance(visit, FannedOutVisit) else visit.for_detector(94)
    # What is sent on is what is read.
    assert FannedOutVisit.parse(share.model_dump_json()) == share
    assert FannedOutVisit.parse(json.dumps(share.model_dump(mode="json"))) == share
    assert FannedOutVisit.from_stream_entry(share.to_stream_entry()) == share
    for value in share.to_stream_entry().values():
        value.encode()
    day_obs(tai_to_utc(visit.private_sndStamp))
    day_obs(tai_to_utc(visit.startTime))
    with LogContext("LSSTCam").visit(share, now):
        pass
    try:
        RULES.require_acceptable(share, now)
        for prefix in visit_prefixes("HSC", share.detector, share.groupId, [20250610]):
            assert prefix.count("/") == 3
            assert not {".", ".."} & set(prefix.split("/"))
        RULES.pipelines(share)
    except (InvalidVisitError, StaleVisitError, IgnorableVisitError, NonRetriableError):
        pass


@pytest.mark.parametrize("kind", [NextVisit, FannedOutVisit])
@many_inputs(0.5)
@given(message=st.one_of(json_bytes(SHARE), VALUES, spoilt(SHARE)))
def test_anything_is_a_visit_or_malformed(kind, message):
    try:
        visit = kind.parse(message)
    except MalformedMessageError:
        return
    use(visit)


@many_inputs()
@given(message=json_bytes(VISIT))
def test_any_plain_message_is_a_visit_or_malformed(message):
    try:
        visit = decode_next_visit(message, None)
    except MalformedMessageError:
        return
    use(visit)


@many_inputs()
@given(
    visit=st.builds(
        lambda **changes: FannedOutVisit.parse({**SHARE, **changes}),
        salIndex=st.integers(),
        groupId=st.text(
            st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=60
        ).filter(lambda group: "/" not in group and group not in (".", "..")),
        position=st.one_of(st.none(), st.tuples(st.floats(-720, 720), st.floats(-90, 90)).map(list)),
        cameraAngle=st.floats(allow_nan=False, allow_infinity=False),
        survey=st.text(PRINTABLE, max_size=20),
        detector=st.integers(0, 250),
        nimages=st.integers(0, 100),
    )
)
def test_a_good_visit_survives_every_way_of_travelling(visit):
    use(visit)


@many_inputs()
@given(
    entry=st.one_of(
        spoilt(
            FannedOutVisit.parse(SHARE).to_stream_entry(),
            st.one_of(
                st.text(max_size=20), st.binary(max_size=20), NASTY_NUMBERS.map(str), VALUES.map(json.dumps)
            ),
        ),
        st.dictionaries(st.one_of(st.text(), st.binary()), st.one_of(st.text(), st.binary())),
        st.sampled_from([{"position": "[" * 100_000}]),
    )
)
def test_any_stream_entry_is_a_visit_or_malformed(entry):
    try:
        visit = FannedOutVisit.from_stream_entry(entry)
    except MalformedMessageError:
        return
    use(visit)


class _Registry(BaseHTTPRequestHandler):
    answers: dict[int, bytes]

    def do_GET(self):
        answer = self.answers.get(int(self.path.rsplit("/", 1)[1]))
        self.send_response(404 if answer is None else 200)
        self.send_header("Content-Length", str(len(answer or b"")))
        self.end_headers()
        self.wfile.write(answer or b"")

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def registry_server():
    _Registry.answers = {7: json.dumps({"schema": json.dumps(VISIT_SCHEMA)}).encode()}
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Registry)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def as_avro(visit) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(VISIT_SCHEMA), visit)
    return frame(7, stream.getvalue())


@pytest.fixture(scope="module")
def registry(registry_server):
    registry = SchemaRegistry(registry_server)
    assert decode_next_visit(as_avro(VISIT), registry) == NextVisit.parse(VISIT)
    return registry


@many_inputs()
@given(
    message=st.one_of(
        damaged(as_avro(VISIT)),
        damaged(as_avro(VISIT)[5:]).map(lambda datum: frame(7, datum)),
        st.binary(max_size=200).map(lambda datum: frame(7, datum)),
        st.binary(max_size=200),
        # Counts and lengths of absurd size are what a variable-length integer makes easy.
        st.binary(min_size=1, max_size=80).map(
            lambda datum: frame(7, datum[:20] + b"\xff" * 8 + b"\x7f" + datum)
        ),
    )
)
def test_any_framed_message_is_a_visit_or_malformed(registry, message):
    try:
        visit = decode_next_visit(message, registry)
    except MalformedMessageError:
        return
    use(visit)


@many_inputs()
@given(
    visit=st.fixed_dictionaries(
        {
            **{name: st.just(value) for name, value in VISIT.items()},
            "position": st.lists(st.floats(), max_size=3),
            "groupId": st.text(st.characters(codec="utf-8"), max_size=20),
            "filters": st.one_of(st.none(), st.text(st.characters(codec="utf-8"), max_size=20)),
            "private_sndStamp": st.floats(),
            "duration": st.floats(),
            "salIndex": st.integers(-(2**63), 2**63 - 1),
        }
    )
)
def test_any_visit_of_the_schema_is_a_visit_or_malformed(registry, visit):
    try:
        use(decode_next_visit(as_avro(visit), registry))
    except MalformedMessageError:
        return


@many_inputs()
@given(
    answer=st.one_of(
        json_bytes({"schema": json.dumps(VISIT_SCHEMA)}),
        st.sampled_from(["null", "[]", '"int"', '{"type": "record"}', '{"type": "x"}', "[[[", "{}"]).map(
            lambda schema: json.dumps({"schema": schema}).encode()
        ),
        spoilt(VISIT_SCHEMA).map(lambda schema: json.dumps({"schema": json.dumps(schema)}).encode()),
    )
)
def test_any_answer_of_the_registry_is_a_schema_or_a_failure_of_the_registry(registry_server, answer):
    _Registry.answers[8] = answer
    registry = SchemaRegistry(registry_server)
    with suppress(MalformedMessageError, SchemaRegistryError):
        decode_next_visit(frame(8, as_avro(VISIT)[5:]), registry)
