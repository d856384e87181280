"""The writer's two topics: what was read counts as read in the same transaction that tells what was done."""

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
"""How long a batch may take, a database that is away for a while included, before others take over."""

_TRANSACTION_TIMEOUT_MS = 30_000
"""How long a writer that died may hold up those who read only what is committed."""


_FENCED = (KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH)


class TransactionAbortedError(Exception):
    """The transaction came to nothing; the messages will be read again, here or by another writer."""


class WriterTopics:
    """Read batches of messages and commit them together with the event about them.

    Parameters
    ----------
    kafka : `~prompt_processing.transport.kafka.KafkaSettings`
        The cluster.
    topic, output_topic : `str`
        What is read, and where events go.
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
            # A topic that is made after the start is found soon.
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
        """Why the cluster does not let this client in; `None` if it does."""
        return self._refusals.reason

    def explain(self, error: KafkaError) -> str:
        """Return why this writer cannot go on, and which setting to check.

        Parameters
        ----------
        error : `confluent_kafka.KafkaError`
            As `open`, `read` or `commit` raised it.
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
        """Connect.

        Parameters
        ----------
        timeout : `float`, optional
            Seconds.

        Raises
        ------
        confluent_kafka.KafkaException
            Raised if the cluster cannot be reached, or refuses.
        """
        try:
            self._producer.init_transactions(timeout)
        except KafkaException:
            # Serves the callback of errors: the call itself only knows that its time ran out.
            self._producer.poll(0)
            raise
        self._consumer.subscribe([self._topic])

    def read(self, limit: int, seconds: float) -> list[Message]:
        """Return what there is.

        Parameters
        ----------
        limit : `int`
            Messages at the most.
        seconds : `float`
            How long to wait for more.

        Returns
        -------
        messages : `list` [`confluent_kafka.Message`]
            In the order of each partition; possibly none.
        """
        messages = []
        for message in self._consumer.consume(limit, seconds):
            if (error := message.error()) is None:
                messages.append(message)
            elif error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                _log.warning("Kafka: %s", error.str())
        return messages

    def commit(self, messages: Sequence[Message], event: bytes | None) -> None:
        """Commit what was read with the event about it: both, or neither.

        Parameters
        ----------
        messages : sequence of `confluent_kafka.Message`
            As `read` gave them.
        event : `bytes` or `None`
            `None` if there is nothing to tell.

        Raises
        ------
        TransactionAbortedError
            Raised if it did not come to that; `read` will give the messages again if they are still ours.
        confluent_kafka.KafkaException
            Raised for failures that only a new process can mend.
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
                _log.warning("The commit is tried again: %s", error.args[0].str())

    def _rewind(self, messages: Sequence[Message]) -> None:
        first: dict[tuple[str, int], int] = {}
        for message in messages:
            place = (str(message.topic()), int(message.partition() or 0))
            first[place] = min(first.get(place, message.offset()), message.offset())
        for (topic, partition), offset in first.items():
            try:
                self._consumer.seek(TopicPartition(topic, partition, offset))
            except KafkaException as error:
                # Another writer has the partition now, and begins where the group has committed.
                _log.info("Partition %d of %s is not ours any more: %s", partition, topic, error)


def _next_offsets(messages: Sequence[Message]) -> list[TopicPartition]:
    following: dict[tuple[str, int], int] = {}
    for message in messages:
        place = (str(message.topic()), int(message.partition() or 0))
        following[place] = max(following.get(place, 0), message.offset() + 1)
    return [TopicPartition(topic, partition, offset) for (topic, partition), offset in following.items()]
