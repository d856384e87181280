"""What a worker does before its first visit."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable

import pytest
from lsst.dax.apdb import Apdb

from prompt_processing.activator import factory
from prompt_processing.activator.factory import ProcessContext
from prompt_processing.activator.services.first_visit import FirstVisit
from prompt_processing.apdb.failures import ApdbConfigurationError
from prompt_processing.domain.errors import PromptError, RetriableError
from prompt_processing.settings.worker import Settings


class Notices:
    """Arrival notices of a cluster that may be down."""

    connected = True

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.error: PromptError | None = None

    def start(self) -> None:
        self.calls.append("start")
        if self.error is not None:
            raise self.error

    def stop(self) -> None:
        self.calls.append("stop")

    def close(self) -> None:
        self.calls.append("close")


@pytest.fixture
def notices() -> Notices:
    return Notices()


@pytest.fixture
def loaded() -> threading.Event:
    return threading.Event()


@pytest.fixture
def context(notices: Notices, loaded: threading.Event, monkeypatch: pytest.MonkeyPatch) -> ProcessContext:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    settings = Settings.load(
        rubin_instrument="LSSTCam", skymap="s", central_repo="/nowhere", image_bucket="raws",
        kafka_cluster="kafka:9092", bucket_topic="notices", config_apdb="/nowhere/apdb.yaml",
        preprocessing_pipelines_config="- pipelines: [a/Preprocessing.yaml]",
        main_pipelines_config="- pipelines: [a/ApPipe.yaml]",
    )  # fmt: skip
    context = ProcessContext(settings, notices=notices)  # type: ignore[arg-type]
    context._first_visit = FirstVisit({"all": loaded.set}, grace=0)
    monkeypatch.setattr(context.unsent_alerts, "begin", lambda: None)
    monkeypatch.setattr(gc, "freeze", lambda: None)
    monkeypatch.setattr(factory, "check_apdb_version", lambda uri: None)
    return context


def refuse(error: Exception) -> Callable[[], None]:
    def raise_it() -> None:
        raise error

    return raise_it


def test_ready_worker_has_tried_kafka_and_loads_the_rest_by_itself(
    context: ProcessContext, notices: Notices, loaded: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "repositories", lambda: None)
    context.warm()
    assert notices.calls == ["start", "stop"]
    assert loaded.wait(60)


def test_worker_says_all_that_is_down_and_starts(
    context: ProcessContext,
    notices: Notices,
    loaded: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(context, "repositories", refuse(RetriableError("The repository is down.")))
    notices.error = PromptError("Kafka is down.")
    with caplog.at_level(logging.ERROR):
        context.warm()
    assert caplog.messages == [
        "Not everything is ready: The repository is down.",
        "Not everything is ready: Kafka is down.",
    ]
    assert loaded.wait(60)


def test_unusable_apdb_stops_the_worker_before_it_is_ready(
    context: ProcessContext, loaded: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(uri: str) -> Apdb:
        raise ApdbConfigurationError(f"{uri} is of no use")

    monkeypatch.setattr(factory, "check_apdb_version", refused)
    with pytest.raises(ApdbConfigurationError, match=r"/nowhere/apdb\.yaml is of no use"):
        context.warm()
    assert not context.ready
    assert not loaded.is_set()
