"""Kafka notices of new objects in the image bucket."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from typing import Literal
from uuid import uuid4

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from prompt_processing.domain.errors import MalformedMessageError, PromptError
from prompt_processing.domain.notices import ArrivalNotice, parse_notices
from prompt_processing.transport.kafka import KafkaSettings, Refusals, make_consumer

_log = logging.getLogger("lsst.activator.storage.arrival_notices")

_LOST_CONNECTION = (
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TRANSPORT,
    KafkaError._RESOLVE,
    KafkaError._AUTHENTICATION,
)


_PAUSE = 0.1
"""Seconds before a request whose connection broke off is made again."""


class NoticesUnavailableError(PromptError):
    """Arrival notices are unavailable from Kafka."""


class ArrivalNotices:
    """All notices since a given moment, for one worker.

    A worker assigns all partitions to itself, in a group of its own, so that
    the broker does not have to balance hundreds of groups with one member.

    Parameters
    ----------
    settings : `~prompt_processing.transport.kafka.KafkaSettings`
        Settings of the cluster.
    topic : `str`
        Topic of the notices.
    offset_reset : {"latest", "earliest"}, optional
        Whether a visit reads only notices published after its start, or all.
    timeout : `float`, optional
        Seconds that a request to the cluster may take.
    on_undecodable : callable, optional
        Called with the topic of a message that cannot be read.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topic: str,
        *,
        offset_reset: Literal["latest", "earliest"] = "latest",
        timeout: float = 3.0,
        on_undecodable: Callable[[str], None] | None = None,
    ) -> None:
        self._topic = topic
        self._from_beginning = offset_reset == "earliest"
        self._timeout = timeout
        self._on_undecodable = on_undecodable or (lambda topic: None)
        self._connected = True
        self._refusals = Refusals(settings, self._note_error)
        self._consumer: Consumer = make_consumer(
            settings,
            f"prompt-processing-{socket.gethostname()}-{uuid4()}",
            on_error=self._refusals,
            enable_auto_commit=False,
            auto_offset_reset=offset_reset,
            # After a lost connection, the notice that a worker waits for must not be delayed for long.
            reconnect_backoff_max_ms=2000,
            fetch_wait_max_ms=100,
        )

    @property
    def connected(self) -> bool:
        """Whether neither a lost connection nor a refusal has been reported."""
        return self._connected and self._refusals.reason is None

    def start(self) -> None:
        """Fix the position: notices published from now on will be returned.

        Raises
        ------
        NoticesUnavailableError
            Raised if the cluster or the topic cannot be reached.
        """
        latest = time.monotonic() + self._timeout
        while True:
            try:
                self._consumer.assign(self._positions())
                break
            except KafkaException as error:
                unavailable = self._unavailable(error)
                # A connection that breaks off during a request is made again; the request is not.
                broke_off = error.args[0].code() == KafkaError._TRANSPORT and self._refusals.reason is None
                if not broke_off or time.monotonic() > latest:
                    raise unavailable from error
                time.sleep(_PAUSE)
        self._connected = True
        self._refusals.reason = None

    def _unavailable(self, error: KafkaException) -> NoticesUnavailableError:
        """Return what a failed request means; the error callback may know the reason."""
        # Calls the error callback; the failed request itself only reports a timeout.
        self._consumer.poll(0)
        reason = self._refusals.reason or error.args[0].str()
        return NoticesUnavailableError(f"Kafka topic {self._topic}: {reason}")

    def _positions(self) -> list[TopicPartition]:
        """Return where to begin in each partition."""
        topic = self._consumer.list_topics(self._topic, timeout=self._timeout).topics[self._topic]
        if topic.error is not None:
            raise NoticesUnavailableError(f"Kafka topic {self._topic}: {topic.error.str()}")
        positions = []
        for partition in topic.partitions:
            position = TopicPartition(self._topic, partition, OFFSET_BEGINNING)
            if not self._from_beginning:
                # The end as a number: librdkafka resolves the symbolic end later, and would miss notices
                # published in between.
                _, position.offset = self._consumer.get_watermark_offsets(
                    TopicPartition(self._topic, partition), timeout=self._timeout
                )
            positions.append(position)
        return positions

    def reconnect(self) -> None:
        """Check whether a lost cluster answers again, without waiting for a notice.

        Raises
        ------
        NoticesUnavailableError
            Raised if it does not answer.
        """
        try:
            self._consumer.list_topics(self._topic, timeout=self._timeout)
        except KafkaException as error:
            raise self._unavailable(error) from error
        self._connected = True
        self._refusals.reason = None

    def poll(self, seconds: float) -> list[ArrivalNotice]:
        """Return the notices that have arrived, or wait for the first one.

        Parameters
        ----------
        seconds : `float`
            Longest wait.

        Returns
        -------
        notices : `list` [`~prompt_processing.domain.notices.ArrivalNotice`]
            All available notices. Messages that cannot be read are logged,
            counted and skipped.
        """
        notices: list[ArrivalNotice] = []
        message = self._consumer.poll(seconds)
        while message is not None:
            notices += self._read(message)
            message = self._consumer.poll(0)
        return notices

    def stop(self) -> None:
        """Stop reading notices."""
        self._consumer.unassign()

    def close(self) -> None:
        """Close the consumer."""
        self._consumer.close()

    def _read(self, message: Message) -> list[ArrivalNotice]:
        if (error := message.error()) is not None:
            self._note_error(error)
            return []
        self._connected = True
        self._refusals.reason = None
        try:
            return parse_notices(message.value() or b"")
        except MalformedMessageError as failure:
            _log.warning(
                "Skipping message %s[%s]@%s: %s",
                message.topic(),
                message.partition(),
                message.offset(),
                failure.reason,
            )
            self._on_undecodable(self._topic)
            return []

    def _note_error(self, error: KafkaError) -> None:
        if error.code() in _LOST_CONNECTION and self._connected:
            self._connected = False
            _log.warning("Arrival notices are unavailable for now, the bucket is polled: %s", error.str())
