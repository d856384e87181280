"""The writer's topics: one transaction commits the messages that were read and the event about them."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from prompt_processing.transport.kafka import (
    ClusterCheck,
    KafkaSettings,
    Refusals,
    make_consumer,
    make_producer,
)

__all__ = ["GROUP", "MAX_POLL_INTERVAL_MS", "TransactionAbortedError", "WriterTopics"]

_log = logging.getLogger("lsst.butler_writer.topics")

GROUP = "butler-writer"
"""Consumer group of all writers."""

MAX_POLL_INTERVAL_MS = 1_800_000
"""Longest time for a batch, including an outage of the database, before another writer takes over."""

_TRANSACTION_TIMEOUT_MS = 30_000
"""Longest time for which a dead writer can block consumers of committed messages."""


_FENCED = (KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH)


class TransactionAbortedError(Exception):
    """The transaction failed; the messages will be read again, here or by another writer."""


class WriterTopics:
    """Read batches of messages and commit them together with the event about them.

    Parameters
    ----------
    kafka : `~prompt_processing.transport.kafka.KafkaSettings`
        Settings of the cluster.
    topic, output_topic : `str`
        Topic of messages, and topic of events.
    transactional_id : `str`
        Id of the producer; a writer that starts with the same one stops this one.
    debug : `bool`, optional
        Whether the clients log all that they do.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        topic: str,
        output_topic: str,
        transactional_id: str,
        *,
        debug: bool = False,
    ) -> None:
        self._topic = topic
        self._output_topic = output_topic
        self._transactional_id = transactional_id
        logged = {"debug": "all"} if debug else {}
        self._refusals = Refusals(kafka)
        self._consumer = make_consumer(
            kafka,
            GROUP,
            on_error=self._refusals,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            isolation_level="read_committed",
            max_poll_interval_ms=MAX_POLL_INTERVAL_MS,
            # A topic that is created after the start is found soon.
            topic_metadata_refresh_interval_ms=10_000,
            **logged,
        )
        self._producer = make_producer(
            kafka,
            on_error=self._refusals,
            transactional_id=transactional_id,
            transaction_timeout_ms=_TRANSACTION_TIMEOUT_MS,
            **logged,
        )
        self._reachable = ClusterCheck(self._producer, topic)

    @property
    def reachable(self) -> ClusterCheck:
        """A check whether the cluster answers."""
        return self._reachable

    @property
    def refusal(self) -> str | None:
        """Why the cluster refuses this client; `None` if it does not."""
        return self._refusals.reason

    def explain(self, error: KafkaError) -> str:
        """Return why this writer cannot continue, and which setting to check.

        Parameters
        ----------
        error : `confluent_kafka.KafkaError`
            Error of `open`, `read` or `commit`.
        """
        if self.refusal is not None:
            return self.refusal
        if error.code() == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
            return (
                f"the cluster's ACLs do not let this user write with the transactional id "
                f"{self._transactional_id}: check KAFKA_TRANSACTIONAL_ID"
            )
        if error.code() in _FENCED:
            return (
                f"another writer has started with the transactional id {self._transactional_id}: writers "
                "that run at once need different values of KAFKA_TRANSACTIONAL_ID"
            )
        return str(error.str())

    def open(self, timeout: float = 60.0) -> None:
        """Connect to the cluster.

        Parameters
        ----------
        timeout : `float`, optional
            Timeout, seconds.

        Raises
        ------
        confluent_kafka.KafkaException
            Raised if the cluster cannot be reached, or refuses the client.
        """
        try:
            self._producer.init_transactions(timeout)
        except KafkaException:
            # Calls the error callback; the failed call itself only reports a timeout.
            self._producer.poll(0)
            raise
        self._consumer.subscribe([self._topic])

    def read(self, limit: int, seconds: float) -> list[Message]:
        """Return the available messages.

        Parameters
        ----------
        limit : `int`
            Largest number of messages.
        seconds : `float`
            How long to wait for more.

        Returns
        -------
        messages : `list` [`confluent_kafka.Message`]
            Messages, in order within each partition; may be empty.
        """
        messages = []
        for message in self._consumer.consume(limit, seconds):
            if (error := message.error()) is None:
                messages.append(message)
            elif error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                _log.warning("Kafka: %s", error.str())
        return messages

    def commit(self, messages: Sequence[Message], event: bytes | None) -> None:
        """Commit messages and the event about them, both or neither.

        Parameters
        ----------
        messages : sequence of `confluent_kafka.Message`
            Messages from `read`.
        event : `bytes` or `None`
            The event; `None` if nothing was entered.

        Raises
        ------
        TransactionAbortedError
            Raised if nothing was committed; `read` returns the messages again if they are still ours.
        confluent_kafka.KafkaException
            Raised for failures after which only a new process can continue.
        """
        try:
            self._producer.begin_transaction()
            if event is not None:
                self._producer.produce(self._output_topic, event)
            self._producer.send_offsets_to_transaction(
                _next_offsets(messages), self._consumer.consumer_group_metadata(), 30.0
            )
            self._commit()
        except KafkaException as error:
            if error.args[0].fatal():
                raise
            _log.warning("The transaction is aborted: %s", error.args[0].str())
            self._producer.abort_transaction(30.0)
            self._rewind(messages)
            raise TransactionAbortedError(error.args[0].str()) from error

    def close(self) -> None:
        """Leave the group, so that another writer can take over at once."""
        self._consumer.close()

    def _commit(self) -> None:
        while True:
            try:
                self._producer.commit_transaction(30.0)
                return
            except KafkaException as error:
                if not error.args[0].retriable():
                    raise
                _log.warning("Trying the commit again: %s", error.args[0].str())

    def _rewind(self, messages: Sequence[Message]) -> None:
        first: dict[tuple[str, int], int] = {}
        for message in messages:
            place = (str(message.topic()), int(message.partition() or 0))
            first[place] = min(first.get(place, message.offset()), message.offset())
        for (topic, partition), offset in first.items():
            try:
                self._consumer.seek(TopicPartition(topic, partition, offset))
            except KafkaException as error:
                # Another writer has the partition now, and begins at the committed offset.
                _log.info("Partition %d of %s now belongs to another writer: %s", partition, topic, error)


def _next_offsets(messages: Sequence[Message]) -> list[TopicPartition]:
    following: dict[tuple[str, int], int] = {}
    for message in messages:
        place = (str(message.topic()), int(message.partition() or 0))
        following[place] = max(following.get(place, 0), message.offset() + 1)
    return [TopicPartition(topic, partition, offset) for (topic, partition), offset in following.items()]
