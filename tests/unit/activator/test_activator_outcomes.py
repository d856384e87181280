"""What a worker publishes about its visits."""

from __future__ import annotations

import pytest

from prompt_processing.domain.outcome import Outcome, Status
from prompt_processing.domain.outcome_message import OutcomeMessage
from prompt_processing.nights.publishing import OutcomePublisher


class Kept:
    """Keeps what is sent to it."""

    def __init__(self) -> None:
        self.messages: list[OutcomeMessage] = []

    def send(self, message: OutcomeMessage) -> None:
        self.messages.append(OutcomeMessage.parse(message.encode()))

    def close(self, timeout: float) -> None:
        """Do nothing."""


@pytest.fixture
def sink(world):
    sink = Kept()
    world.publisher = OutcomePublisher(sink, lambda: "1.2")
    return sink


def test_begin_and_end_of_a_visit_are_published(world, sink):
    outcome = world.process()
    world.publisher.close()
    began, ended = sink.messages
    assert (began.event, ended.event) == ("began", "ended")
    assert began.attempt == ended.attempt != ""
    assert (ended.group, ended.detectors, ended.night) == ("2025-06-10T08:18:28.123", (94,), 20250609)
    assert (ended.status, ended.reason, ended.exposures) == ("processed", outcome.reason, outcome.exposures)
    assert ended.stages == outcome.stages
    assert ended.metrics["associateApdb.numDiaSources"] == 7
    assert ended.software == "1.2"


def test_failure_is_published_with_its_reason(world, sink):
    world.open_failure = RuntimeError("<b>No</b> such table")
    world.process()
    world.publisher.close()
    assert sink.messages[-1].status == "failed"
    assert "<b>No</b> such table" in sink.messages[-1].reason


def test_outcome_without_processing_is_published(world, sink):
    visit = world.visit()
    world.service().record(Outcome(Status.FAILED, "3 workers did not finish it."), visit)
    world.publisher.close()
    (ended,) = sink.messages
    assert (ended.event, ended.status) == ("ended", "failed")


def test_message_that_names_no_visit_is_not_published(world, sink):
    world.service().record(Outcome(Status.MALFORMED, "Not JSON."))
    world.publisher.close()
    assert sink.messages == []


def test_visit_is_processed_if_nothing_can_be_published(world, monkeypatch):
    class Broken(Kept):
        def send(self, message):
            raise OSError("No space left on device")

    world.publisher = OutcomePublisher(Broken())
    assert world.process().status is Status.PROCESSED
    world.publisher.close()
