"""HTTP: CloudEvents in, outcomes out."""

import base64
import io
import json

import pytest

from prompt_processing.activator.app import LARGEST_REQUEST, make_app
from prompt_processing.domain.errors import RetriableError
from prompt_processing.fanout.destinations import structured_event

ATTRIBUTES = {"specversion": "1.0", "id": "1", "source": "next-visit-topic", "type": "com.example.kafka"}


@pytest.fixture
def client(world):
    app = make_app(
        world.service(), world.metrics, ready=lambda: world.open_failure is None, secrets=["hush-hush"]
    )
    return app.test_client()


def structured(client, **event):
    return client.post(
        "/next-visit",
        data=json.dumps({**ATTRIBUTES, **event}),
        content_type="application/cloudevents+json; charset=utf-8",
    )


def binary(client, body, **left_out):
    headers = {f"ce-{name}": value for name, value in {**ATTRIBUTES, **left_out}.items() if value}
    return client.post("/next-visit", data=body, headers=headers, content_type="application/json")


def test_structured_mode_with_an_object(world, client):
    response = structured(client, data=world.message())
    assert response.status_code == 200
    assert response.json["outcome"]["status"] == "processed"
    assert response.json["outcome"]["pipeline"] == "ApPipe"


def test_structured_mode_with_a_string(world, client):
    assert structured(client, data=json.dumps(world.message())).status_code == 200


def test_what_the_fan_out_sends_is_read(world, client):
    body = structured_event(json.dumps(world.message()), "next-visit-topic")
    response = client.post("/next-visit", data=body, content_type="application/cloudevents+json")
    assert response.status_code == 200


def test_structured_mode_with_a_string_in_base64(world, client):
    data = base64.b64encode(json.dumps(json.dumps(world.message())).encode()).decode()
    assert structured(client, data_base64=data).status_code == 200


def test_structured_mode_with_base64(world, client):
    data = base64.b64encode(json.dumps(world.message()).encode()).decode()
    assert structured(client, data_base64=data).status_code == 200


def test_binary_mode_with_an_object(world, client):
    assert binary(client, json.dumps(world.message())).status_code == 200


def test_binary_mode_with_a_string(world, client):
    assert binary(client, json.dumps(json.dumps(world.message()))).status_code == 200


@pytest.mark.parametrize(
    "event", [{}, {"data": None}, {"data": ""}, {"data": "{"}, {"data": [1]}, {"data": 3}]
)
def test_a_cloud_event_without_a_visit_is_a_bad_request(client, event):
    response = structured(client, **event)
    assert response.status_code == 400
    assert response.json["outcome"]["status"] == "malformed"


def test_a_cloud_event_with_broken_base64_is_a_bad_request(client):
    assert structured(client, data_base64="*").status_code == 400


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"null", b'"{"'])
def test_binary_mode_with_a_broken_body_is_a_bad_request(client, body):
    assert binary(client, body).status_code == 400


def test_what_is_no_cloud_event_is_a_bad_request(world, client):
    message = json.dumps(world.message())
    assert client.post("/next-visit", data=message, content_type="application/json").status_code == 400
    assert binary(client, message, type=None).status_code == 400
    assert structured(client, data=world.message(), id=None).status_code == 400
    batch = client.post("/next-visit", data="[]", content_type="application/cloudevents-batch+json")
    assert batch.status_code == 400
    not_object = client.post("/next-visit", data="[]", content_type="application/cloudevents+json")
    assert not_object.status_code == 400


def test_a_batch_of_one_event_is_that_event(world, client):
    event = {"specversion": "1.0", "id": "1", "source": "s", "type": "t", "data": json.dumps(world.message())}
    for events, status in (([event], 200), ([event, event], 400), ([], 400), ([1], 400)):
        response = client.post(
            "/next-visit", data=json.dumps(events), content_type="application/cloudevents-batch+json"
        )
        assert response.status_code == status, events


@pytest.mark.parametrize(
    ("charset", "encoding", "status"),
    [
        ("UTF-8", "utf-8", 200),
        ("utf-16", "utf-16", 200),
        ("iso-8859-1", "latin-1", 200),
        ("no-such", "utf-8", 400),
    ],
)
def test_event_is_read_in_its_encoding(world, client, charset, encoding, status):
    data = json.dumps({**world.message(), "comment": "\u00e9"}, ensure_ascii=False)
    event = {"specversion": "1.0", "id": "1", "source": "s", "type": "t", "data": data}
    response = client.post(
        "/next-visit",
        data=json.dumps(event, ensure_ascii=False).encode(encoding),
        content_type=f'application/cloudevents+json; charset="{charset}"',
    )
    assert response.status_code == status


def test_a_malformed_visit_is_counted(world, client):
    structured(client, data={"detector": 3})
    assert 'outcome="malformed"} 1.0' in client.get("/metrics").text


def test_a_stale_visit_is_forbidden(world, client):
    assert structured(client, data=world.message(private_sndStamp=1.0)).status_code == 403


@pytest.mark.parametrize(
    "changes", [{"instrument": "HSC"}, {"detector": 999}, {"position": None}, {"survey": "skip"}]
)
def test_an_unusable_or_skipped_visit_is_unprocessable(world, client, changes):
    assert structured(client, data=world.message(**changes)).status_code == 422


def test_a_passing_failure_asks_for_a_retry(world, client):
    world.workspace.during["preload"] = lambda: (_ for _ in ()).throw(RetriableError("later"))
    response = structured(client, data=world.message())
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "30"


def test_a_failure_for_good_tells_why_no_retry(world, client):
    world.apdb = [True]
    response = structured(client, data=world.message())
    assert response.status_code == 500
    assert "Retry-After" not in response.headers
    assert response.json["outcome"]["retry"] == "unsafe"


def test_health_tells_life_and_readiness(world, client):
    assert client.get("/health").json == {"live": True, "ready": True}
    world.open_failure = RetriableError("gone")
    assert client.get("/health").status_code == client.get("/health/ready").status_code == 503
    assert client.get("/health/live").status_code == 200


def test_metrics_are_prometheus_text(client):
    response = client.get("/metrics")
    assert response.content_type.startswith("text/plain")
    assert "# TYPE prompt_visits_total counter" in response.text


def test_a_request_that_is_too_large_is_refused_by_its_length(client):
    response = binary(client, b" " * (LARGEST_REQUEST + 1))
    assert response.status_code == 413
    assert "bytes" in response.json["message"]


@pytest.mark.parametrize(("size", "status"), [(LARGEST_REQUEST - 1, 400), (LARGEST_REQUEST + 1, 413)])
def test_a_request_without_a_length_is_refused_if_it_is_too_large(client, size, status):
    response = client.post(
        "/next-visit",
        input_stream=io.BytesIO(b" " * size),
        headers={"ce-id": "1", "ce-source": "s", "ce-type": "t", "ce-specversion": "1.0"},
        environ_overrides={"wsgi.input_terminated": True},
    )
    assert response.status_code == status


def test_an_answer_shows_no_credentials(world, client):
    world.open_failure = RetriableError(
        "postgresql://user:very-secret@host/db does not know the password hush-hush"
    )
    response = structured(client, data=world.message())
    assert response.status_code == 503
    assert "postgresql://user:********@host/db" in response.json["message"]
    assert "very-secret" not in response.text
    assert "hush-hush" not in response.text


def test_the_version_is_told(client):
    version = client.get("/version").json
    assert version["middleware"].startswith("w_")
    assert set(version["schemas"]) == {"alert", "apdb"}
    assert version["distributions"]["lsst-daf-butler"]
    assert version["deployment"] is None
