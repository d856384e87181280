"""Publish messages about visits in the background; a failure is only logged."""

from __future__ import annotations

import logging
import os
import queue
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from confluent_kafka import KafkaError, Message, Producer

from prompt_processing.domain.outcome import Outcome
from prompt_processing.domain.outcome_message import OutcomeMessage
from prompt_processing.domain.visit import FannedOutVisit, NextVisit
from prompt_processing.telemetry.credentials import CredentialMask
from prompt_processing.telemetry.handover import in_this_context
from prompt_processing.transport.kafka import KafkaSettings, Refusals, make_producer

__all__ = ["AttemptReport", "FolderSink", "OutcomePublisher", "Sink", "TopicSink", "make_publisher"]

_log = logging.getLogger("lsst.activator.nights.publishing")

_MOST_WAITING = 2000
"""Messages that may wait for a slow sink; further ones are dropped."""
_DELIVERY_TIMEOUT_MS = 300_000


class Sink(Protocol):
    """Where messages go."""

    def send(self, message: OutcomeMessage) -> None:
        """Send a message, or keep it for sending."""

    def close(self, timeout: float) -> None:
        """Send what is kept, within the timeout (s)."""


class TopicSink:
    """A Kafka topic.

    Parameters
    ----------
    kafka
        Settings of the cluster.
    topic
        Name of the topic. The messages of one visit-detector have one key.
    """

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        self._kafka = kafka
        self._topic = topic
        self._producer: Producer | None = None
        self._refused = False

    def send(self, message: OutcomeMessage) -> None:
        """Hand a message to the client, which sends it; see `Sink`."""
        if self._producer is None:
            self._producer = make_producer(
                self._kafka,
                on_error=Refusals(self._kafka),
                compression_type="zstd",
                linger_ms=50,
                message_timeout_ms=_DELIVERY_TIMEOUT_MS,
                queue_buffering_max_messages=_MOST_WAITING,
            )
        key = f"{message.instrument}:{message.group}:{message.detectors[0]}"
        self._producer.produce(self._topic, message.encode(), key.encode(), on_delivery=self._delivered)
        self._producer.poll(0)

    def close(self, timeout: float) -> None:
        """Send what the client keeps; see `Sink`."""
        if self._producer is not None and (left := self._producer.flush(timeout)):
            _log.warning("%d outcomes did not reach the topic %s.", left, self._topic)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None and not self._refused:
            _log.warning("Outcomes do not reach the topic %s: %s", self._topic, error.str())
        self._refused = error is not None


class FolderSink:
    """A folder, with a file for each process and night: ``<night>/<host>-<process>-<id>.jsonl``.

    Parameters
    ----------
    folder
        The folder; made if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        host = re.sub(r"[^A-Za-z0-9.-]", "_", socket.gethostname())[:60]
        # Containers of one image often have the same process ids, and some the same name.
        self._name = f"{host}-{os.getpid()}-{uuid4().hex[:8]}.jsonl"
        self._broken = False

    def send(self, message: OutcomeMessage) -> None:
        """Append a message; see `Sink`."""
        path = self._folder / str(message.night) / self._name
        path.parent.mkdir(parents=True, exist_ok=True)
        # A full disk may have taken half of the last line.
        line = (b"\n" if self._broken else b"") + message.encode() + b"\n"
        self._broken = True
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            if os.write(file, line) != len(line):
                raise OSError(f"Only part of a message could be written to {path}.")
        finally:
            os.close(file)
        self._broken = False

    def close(self, timeout: float) -> None:
        """Do nothing: each message is in its file; see `Sink`."""


class OutcomePublisher:
    """Publish the messages of one process.

    Messages are made and sent in a thread, so that neither a slow sink nor a fault here reaches a visit.

    Parameters
    ----------
    sink
        Where they go.
    software
        Returns the version of this software.
    mask
        Masks credentials in reasons.
    """

    def __init__(
        self,
        sink: Sink,
        software: Callable[[], str] = lambda: "",
        mask: CredentialMask | None = None,
    ) -> None:
        self._sink = sink
        self._software = software
        self._mask = CredentialMask() if mask is None else mask
        self._host = socket.gethostname()
        self._waiting: queue.Queue[Callable[[], None] | None] = queue.Queue(_MOST_WAITING)
        self._thread: threading.Thread | None = None
        self._failing = False

    def announced(self, visit: NextVisit, detectors: Sequence[int]) -> None:
        """Publish that a visit goes to these detectors."""
        now = time.time()
        self._submit(lambda: OutcomeMessage.of_visit("announced", now, visit, detectors))

    def begin(self, visit: FannedOutVisit) -> AttemptReport:
        """Publish that this process begins an attempt; return what publishes its end."""
        attempt, now = uuid4().hex, time.time()
        self._submit(
            lambda: OutcomeMessage.of_visit(
                "began",
                now,
                visit,
                (visit.detector,),
                attempt=attempt,
                host=self._host,
                software=self._software(),
            )
        )
        return AttemptReport(self, visit, attempt, now)

    def end(
        self,
        visit: FannedOutVisit,
        outcome: Outcome,
        metrics: Mapping[str, float] | None = None,
        *,
        attempt: str | None = None,
        began: float | None = None,
    ) -> None:
        """Publish an outcome.

        Parameters
        ----------
        visit, outcome
            What was processed, and how it ended.
        metrics
            Quality of image and calibration, as ``task.metric``.
        attempt, began
            Of the attempt; by default it is one without a beginning.
        """
        now, attempt = time.time(), attempt or uuid4().hex

        def message() -> OutcomeMessage:
            made = OutcomeMessage.of_outcome(
                now,
                visit,
                visit.detector,
                outcome,
                metrics,
                attempt=attempt,
                began=began,
                host=self._host,
                software=self._software(),
            )
            return made.model_copy(update={"reason": self._mask.text(made.reason)})

        self._submit(message)

    def close(self, timeout: float = 3.0) -> None:
        """Send the waiting messages, within the timeout (s)."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        deadline = time.monotonic() + timeout
        try:
            self._waiting.put(None, timeout=timeout)
        except queue.Full:
            _log.warning("Outcomes are published too slowly: the last ones are lost.")
            return
        thread.join(max(0.0, deadline - time.monotonic()))
        if not thread.is_alive():
            self._sink.close(max(0.1, deadline - time.monotonic()))

    def _submit(self, make: Callable[[], OutcomeMessage]) -> None:
        if self._thread is None:
            # Started with the first message, after the fork, which threads do not survive.
            self._thread = threading.Thread(target=self._work, name="outcomes", daemon=True)
            self._thread.start()
        try:
            self._waiting.put_nowait(in_this_context(lambda: self._send(make)))
        except queue.Full:
            _log.warning("Outcomes are published too slowly: one is lost.")

    def _work(self) -> None:
        while (send := self._waiting.get()) is not None:
            send()

    def _send(self, make: Callable[[], OutcomeMessage]) -> None:
        try:
            self._sink.send(make())
            self._failing = False
        except Exception as error:  # noqa: BLE001
            # Without this thread nothing would be published for the rest of the night.
            if not self._failing:
                _log.warning("An outcome is not published: %s: %s", type(error).__name__, error)
            self._failing = True


class AttemptReport:
    """An attempt whose begin is published; made by `OutcomePublisher.begin`."""

    def __init__(
        self, publisher: OutcomePublisher, visit: FannedOutVisit, attempt: str, began: float
    ) -> None:
        self._publisher = publisher
        self._visit = visit
        self._attempt = attempt
        self._began = began

    def end(self, outcome: Outcome, metrics: Mapping[str, float] | None = None) -> None:
        """Publish how it ended; see `OutcomePublisher.end`."""
        self._publisher.end(self._visit, outcome, metrics, attempt=self._attempt, began=self._began)


def make_publisher(
    kafka: KafkaSettings,
    topic: str | None,
    folder: str | Path | None,
    *,
    software: Callable[[], str] = lambda: "",
    secrets: Sequence[str] = (),
) -> OutcomePublisher | None:
    """Make a publisher to a topic, or where none is given, to a folder.

    Parameters
    ----------
    kafka
        Cluster of the topic.
    topic, folder
        Where to publish.
    software
        Returns the version of this software.
    secrets
        Credentials to mask in reasons.

    Returns
    -------
    publisher
        `None` if neither is given.
    """
    sink: Sink
    if topic:
        sink = TopicSink(kafka, topic)
    elif folder:
        sink = FolderSink(Path(folder))
    else:
        return None
    return OutcomePublisher(sink, software, CredentialMask(secrets))
