"""Requests to the worker's web application: whatever comes is answered, and never with an accident."""

from __future__ import annotations

import base64
import json

import pytest
from flask import Flask
from fuzz_inputs import SHARE, VALUES, as_json, json_bytes, many_inputs, spoilt
from hypothesis import given
from hypothesis import strategies as st

from prompt_processing.activator.app import make_app
from prompt_processing.activator.services.process_visit import ProcessVisit
from prompt_processing.activator.services.visit_rules import VisitRules
from prompt_processing.domain.errors import RetriableError
from prompt_processing.domain.outcome import Status
from prompt_processing.domain.selection import PipelineSelection, SelectionNode
from prompt_processing.instruments.camera import load_camera
from prompt_processing.telemetry.logs import LogContext
from prompt_processing.telemetry.metrics import Metrics

ATTRIBUTES = {"specversion": "1.0", "id": "1", "source": "next-visit-topic", "type": "com.example.kafka"}
DOCUMENTED = {status.http for status in Status} | {413}
ANY_HEADER = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=30)


class _NoImages:
    def subscribe(self): ...
    def unsubscribe(self): ...


class _NoInterruption:
    """Visits here end before anything could take long."""

    from contextlib import nullcontext

    watch = held = finishing = staticmethod(nullcontext)

    def check(self): ...


@pytest.fixture(scope="module")
def app() -> Flask:
    anything = PipelineSelection((SelectionNode(("ApPipe.yaml",)),))

    def no_repository(*_: object):
        raise RetriableError("There is no repository here.")

    metrics = Metrics("LSSTCam")
    service = ProcessVisit(
        VisitRules(load_camera("LSSTCam"), anything, anything, expiration=float("inf")),
        no_repository,
        _NoImages(),
        lambda exposures, detector: False,
        _NoInterruption(),
        metrics,
        LogContext("LSSTCam"),
    )
    return make_app(service, metrics, ready=lambda: True)


def check(response) -> None:
    assert response.status_code in DOCUMENTED, response.get_data()[:300]
    body = json.loads(response.get_data())
    if response.status_code == 500:
        # A visit may fail, but for a reason that somebody has thought of.
        assert "Error:" not in body["message"], body["message"]


def test_a_good_event_reaches_the_repository(app):
    event = {**ATTRIBUTES, "data": SHARE}
    response = app.test_client().post(
        "/next-visit", data=json.dumps(event), content_type="application/cloudevents+json"
    )
    assert response.status_code == 503
    assert response.json["message"] == "There is no repository here."


@many_inputs()
@given(
    body=st.one_of(
        spoilt({**ATTRIBUTES, "data": SHARE}).map(as_json),
        spoilt(SHARE).map(lambda visit: as_json({**ATTRIBUTES, "data": visit})),
        spoilt(SHARE).map(lambda visit: as_json({**ATTRIBUTES, "data": json.dumps(visit)})),
        json_bytes(SHARE).map(
            lambda data: as_json({**ATTRIBUTES, "data_base64": base64.b64encode(data).decode()})
        ),
        VALUES.map(lambda data: as_json({**ATTRIBUTES, "data_base64": data})),
        json_bytes({**ATTRIBUTES, "data": SHARE}),
    )
)
def test_any_structured_event_is_answered(app, body):
    check(app.test_client().post("/next-visit", data=body, content_type="application/cloudevents+json"))


@many_inputs()
@given(
    body=json_bytes(SHARE),
    headers=spoilt({f"ce-{name}": value for name, value in ATTRIBUTES.items()}, ANY_HEADER),
    content_type=st.one_of(
        st.sampled_from(["application/json", "text/plain", "", "application/cloudevents-batch+json"]),
        ANY_HEADER,
    ),
)
def test_any_binary_event_is_answered(app, body, headers, content_type):
    names = "abcdefghijklmnopqrstuvwxyz-0123456789"
    sendable = {name: value for name, value in headers.items() if name and not set(name) - set(names)}
    check(app.test_client().post("/next-visit", data=body, headers=sendable, content_type=content_type))


@many_inputs()
@given(
    path=st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=40),
    method=st.sampled_from(["GET", "PUT", "DELETE", "HEAD", "OPTIONS"]),
)
def test_any_other_request_is_answered(app, path, method):
    # As a server would give it; the test client's own reading of addresses is not what is tried here.
    response = app.test_client().open("/", method=method, environ_overrides={"PATH_INFO": "/" + path})
    assert response.status_code < 500
