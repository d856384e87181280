"""The loop of the writer: read a batch, enter it, list it, announce it."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from confluent_kafka import Message
from lsst.resources import ResourcePath
from pydantic import ValidationError

from prompt_processing.butler.errors import PASSING_FAILURES
from prompt_processing.butler.messages import BatchIngested, DatasetBatch, VisitOutputs
from prompt_processing.telemetry.health import Heartbeat
from prompt_processing.transport.refusals import explain_refusal

from .central import RejectedOutputsError
from .metrics import WriterMetrics
from .topics import TransactionAbortedError

__all__ = ["BATCH_SIZE", "Central", "Topics", "WriterService"]

_log = logging.getLogger("lsst.butler_writer.service")
_T = TypeVar("_T")

BATCH_SIZE = 500
"""Largest number of messages that are entered together."""

_LISTEN_SECONDS = 0.5
_LONGEST_PAUSE = 60.0


class Topics(Protocol):
    """Topics of the writer, see `~prompt_processing.butler_writer.topics.WriterTopics`."""

    def read(self, limit: int, seconds: float) -> list[Message]:
        """Return the available messages."""

    def commit(self, messages: Sequence[Message], event: bytes | None) -> None:
        """Commit messages together with the event about them."""


class Central(Protocol):
    """The repository, see `~prompt_processing.butler_writer.central.CentralButler`."""

    def enter(self, outputs: Sequence[VisitOutputs]) -> None:
        """Enter all outputs, or none."""


@dataclass(frozen=True)
class _Received:
    where: str
    outputs: VisitOutputs


class _StoppedError(Exception):
    """The writer has to stop before the batch is entered."""


class WriterService:
    """Enter the outputs of workers.

    Parameters
    ----------
    topics : `Topics`
        Source of messages and destination of events.
    central : `Central`
        The repository.
    lists : `~lsst.resources.ResourcePath`
        Directory for lists of entered datasets.
    metrics : `~prompt_processing.butler_writer.metrics.WriterMetrics`
        Metrics of the writer.
    retry_delay : `float`
        Seconds before the repository is tried again; doubled each time.
    heartbeat : `~prompt_processing.telemetry.health.Heartbeat`, optional
        Beats in each turn of the loop, and before each attempt.
    """

    def __init__(
        self,
        topics: Topics,
        central: Central,
        lists: ResourcePath,
        metrics: WriterMetrics,
        retry_delay: float,
        heartbeat: Heartbeat | None = None,
    ) -> None:
        self._topics = topics
        self._central = central
        self._lists = lists
        self._metrics = metrics
        self._retry_delay = retry_delay
        self.repository_answers = True
        """Whether the repository, or the store of the lists, answered at the last attempt."""
        self._heartbeat = heartbeat or Heartbeat(float("inf"))

    def run(self, stop: threading.Event) -> None:
        """Run until asked to stop, then finish the current batch if the repository answers.

        Parameters
        ----------
        stop : `threading.Event`
            Set when the writer has to stop.
        """
        while not stop.is_set():
            self._heartbeat.beat()
            messages = self._topics.read(BATCH_SIZE, _LISTEN_SECONDS)
            if not messages:
                continue
            try:
                self._handle(messages, stop)
            except TransactionAbortedError:
                # Nothing is lost: the messages are read again, and existing datasets are skipped.
                continue
            except _StoppedError:
                _log.warning(
                    "Stopped with %d messages not entered; another writer reads them.", len(messages)
                )

    def _handle(self, messages: Sequence[Message], stop: threading.Event) -> None:
        start = time.monotonic()
        received = [one for message in messages if (one := self._parse(message)) is not None]
        entered = self._enter(received, stop)
        event = None
        datasets = [ref for one in entered for dataset in one.outputs.datasets for ref in dataset.refs]
        if datasets:
            event = self._again(lambda: self._list(datasets), "Writing the list of datasets", stop)
        self._topics.commit(messages, event)
        self._metrics.batch_entered(len(entered), len(datasets), time.monotonic() - start)
        _log.info(
            "Entered %d datasets of %d of %d messages in %.2f s.",
            len(datasets),
            len(entered),
            len(messages),
            time.monotonic() - start,
        )

    def _parse(self, message: Message) -> _Received | None:
        where = f"{message.topic()}[{message.partition()}]@{message.offset()}"
        try:
            return _Received(where, VisitOutputs.model_validate_json(message.value() or b""))
        except ValidationError as error:
            problems = error.errors(include_input=False, include_url=False, include_context=False)
            shown = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in problems[:5])
            self._leave_behind(where, f"not a message of outputs: {shown}")
        # The Butler's types decode some values themselves, and raise whatever occurs.
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            self._leave_behind(where, f"not a message of outputs: {type(error).__name__}: {error!s:.200}")
        return None

    def _enter(self, received: Sequence[_Received], stop: threading.Event) -> list[_Received]:
        """Enter all messages except the rejected ones; return those that were entered."""
        if not received:
            return []
        try:
            outputs = [one.outputs for one in received]
            self._again(lambda: self._central.enter(outputs), "Entering outputs", stop)
            return list(received)
        except RejectedOutputsError as error:
            if len(received) == 1:
                self._leave_behind(received[0].where, str(error))
                return []
            _log.warning("Entering a batch of %d messages in halves: %s", len(received), error)
        # Finds the few faulty messages in a few steps; the others are still entered many at a time.
        middle = len(received) // 2
        return [*self._enter(received[:middle], stop), *self._enter(received[middle:], stop)]

    def _leave_behind(self, where: str, reason: str) -> None:
        self._metrics.left_behind.inc()
        _log.error("Message %s is left behind: %s", where, reason)

    def _list(self, datasets: list[uuid.UUID]) -> bytes:
        batch = DatasetBatch(batch_id=uuid.uuid4(), datasets=datasets)
        name = f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%S-%f}-{batch.batch_id}.json"
        self._lists.join(name, forceDirectory=False).write(batch.model_dump_json().encode())
        return BatchIngested(batch_id=batch.batch_id, batch_file=name).model_dump_json().encode()

    def _again(self, action: Callable[[], _T], what: str, stop: threading.Event) -> _T:
        """Repeat an action until neither database nor store fails."""
        pause = self._retry_delay
        while True:
            self._heartbeat.beat()
            try:
                result = action()
                self.repository_answers = True
                return result
            except PASSING_FAILURES as error:
                self.repository_answers = False
                # Only the first line: the rest may be a statement with all its parameters.
                reason = explain_refusal(error) or (str(error).splitlines() or [""])[0]
                _log.error("%s failed, again in %.1f s: %s: %s", what, pause, type(error).__name__, reason)
                self._metrics.failures.inc()
                if stop.wait(pause):
                    raise _StoppedError from error
                pause = min(2 * pause, _LONGEST_PAUSE)
