"""Requests of idempotent and transactional producers."""

from __future__ import annotations

import logging
from collections.abc import Callable

from .partitions import Partition
from .topics import Topics
from .transactions import TransactionError, Transactions
from .wire import ErrorCode, Reader, Writer

__all__ = ["TransactionRequests"]

_log = logging.getLogger("prompt_processing.embedded_broker")


class TransactionRequests:
    """Handler of producers' requests, except for their messages.

    Parameters
    ----------
    topics, transactions
        State of the broker.
    """

    def __init__(self, topics: Topics, transactions: Transactions) -> None:
        self._topics = topics
        self._transactions = transactions

    async def initialise_producer(self, request: Reader, version: int, answer: Writer) -> None:
        """Assign a producer its id and epoch."""
        name, timeout_ms = request.nullable_string(), request.int32()
        known = (request.int64(), request.int16()) if version >= 3 else (-1, -1)
        given = (-1, -1)

        def attempt() -> None:
            nonlocal given
            if name is None:
                given = self._transactions.new_producer()
            else:
                given = self._transactions.initialise(name, timeout_ms, *known)

        error = _error_of(attempt, knows_fencing=version >= 4)
        answer.int32(0)
        answer.int16(error)
        answer.int64(given[0])
        answer.int16(given[1])
        answer.tags()

    async def add_partitions(self, request: Reader, version: int, answer: Writer) -> None:
        """Make partitions part of a transaction: all of them, or none."""
        name, producer_id, epoch = request.string(), request.int64(), request.int16()
        topics = request.array(lambda: (request.string(), request.array(request.int32)))
        found: list[Partition] = []
        unknown: set[tuple[str, int]] = set()
        for topic, numbers in topics:
            for number in numbers:
                if (partition := self._topics.find(topic, number)) is None:
                    unknown.add((topic, number))
                else:
                    found.append(partition)
        error = ErrorCode.OPERATION_NOT_ATTEMPTED
        if not unknown:
            error = _error_of(
                lambda: self._transactions.add_partitions(name, producer_id, epoch, found),
                knows_fencing=version >= 2,
            )
        answer.int32(0)

        def write_topic(topic: tuple[str, list[int]]) -> None:
            def write_partition(number: int) -> None:
                answer.int32(number)
                missing = (topic[0], number) in unknown
                answer.int16(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION if missing else error)

            answer.string(topic[0])
            answer.array(topic[1], write_partition)

        answer.array(topics, write_topic)

    async def add_offsets(self, request: Reader, version: int, answer: Writer) -> None:
        """Make a group's offsets part of a transaction."""
        name, producer_id, epoch = request.string(), request.int64(), request.int16()
        group_id = request.string()
        error = _error_of(
            lambda: self._transactions.add_group(name, producer_id, epoch, group_id),
            knows_fencing=version >= 2,
        )
        answer.int32(0)
        answer.int16(error)

    async def end(self, request: Reader, version: int, answer: Writer) -> None:
        """Commit or abort a transaction."""
        name, producer_id, epoch = request.string(), request.int64(), request.int16()
        committed = request.boolean()
        error = _error_of(
            lambda: self._transactions.end(name, producer_id, epoch, committed), knows_fencing=version >= 2
        )
        answer.int32(0)
        answer.int16(error)


def _error_of(attempt: Callable[[], None], knows_fencing: bool) -> ErrorCode:
    try:
        attempt()
    except TransactionError as refused:
        if refused.code is ErrorCode.PRODUCER_FENCED and not knows_fencing:
            return ErrorCode.INVALID_PRODUCER_EPOCH
        return refused.code
    except OSError as error:
        _log.warning("Cannot end a transaction: %s", error)
        # Clients treat this error as temporary and retry.
        return ErrorCode.COORDINATOR_NOT_AVAILABLE
    return ErrorCode.NONE
