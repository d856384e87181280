"""Requests about messages: Produce, Fetch, ListOffsets."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from .partitions import Partition, PartitionFullError
from .record_batches import BadBatchError, check_produced
from .signals import wait_for_any
from .topic_requests import LEADER_EPOCH
from .topics import Topics
from .transactions import TransactionError, Transactions
from .wire import ErrorCode, Reader, Writer

__all__ = ["MessageRequests"]

_log = logging.getLogger("prompt_processing.embedded_broker")

_MAX_BATCH_BYTES = 10 * 2**20
_MAX_FETCH_BYTES = 16 * 2**20
"""Largest answer in bytes, whatever the client allows: answers are assembled in memory."""
_LATEST, _EARLIEST = -1, -2
_READ_COMMITTED = 1


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A partition in a Fetch request, or in a ListOffsets request with a timestamp as offset."""

    topic: str
    number: int
    offset: int
    max_bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Stored:
    number: int
    error: ErrorCode
    base_offset: int = -1
    start_offset: int = -1
    message: str | None = None


class MessageRequests:
    """Handler of requests about messages.

    Parameters
    ----------
    topics, transactions
        State of the broker.
    """

    def __init__(self, topics: Topics, transactions: Transactions) -> None:
        self._topics = topics
        self._transactions = transactions

    async def produce(self, request: Reader, version: int, answer: Writer) -> bool:
        """Store batches; return whether the client expects an answer."""
        request.nullable_string()
        acks = request.int16()
        request.int32()
        topics = request.array(
            lambda: (
                request.string(),
                request.array(lambda: (request.int32(), request.nullable_bytes())),
            )
        )
        stored = [
            (topic, [self._store(topic, number, data) for number, data in batches])
            for topic, batches in topics
        ]

        def write_partition(one: _Stored) -> None:
            answer.int32(one.number)
            answer.int16(one.error)
            answer.int64(one.base_offset)
            answer.int64(-1)
            if version >= 5:
                answer.int64(one.start_offset)
            if version >= 8:
                answer.array([], answer.string)
                answer.string(one.message)

        def write_topic(topic: tuple[str, list[_Stored]]) -> None:
            answer.string(topic[0])
            answer.array(topic[1], write_partition)

        answer.array(stored, write_topic)
        answer.int32(0)
        return acks != 0

    async def fetch(self, request: Reader, version: int, answer: Writer) -> None:
        """Return batches, and wait for them if none are stored yet."""
        request.int32()
        max_wait_ms, min_bytes, max_bytes = request.int32(), request.int32(), request.int32()
        committed_only = request.int8() == _READ_COMMITTED
        if version >= 7:
            request.int32()
            request.int32()

        def read_partition(topic: str) -> _Wanted:
            number = request.int32()
            if version >= 9:
                request.int32()
            offset = request.int64()
            if version >= 5:
                request.int64()
            return _Wanted(topic, number, offset, request.int32())

        def read_topic() -> tuple[str, list[_Wanted]]:
            topic = request.string()
            return topic, request.array(lambda: read_partition(topic))

        topics = request.array(read_topic)
        wanted = [one for _, partitions in topics for one in partitions]
        max_bytes = min(max_bytes, _MAX_FETCH_BYTES)
        found = await self._fetch(wanted, max_wait_ms / 1000, min_bytes, max_bytes, committed_only)
        answer.int32(0)
        if version >= 7:
            answer.int16(ErrorCode.NONE)
            # No fetch sessions: clients then name all partitions in each request.
            answer.int32(0)

        def write_topic(topic: tuple[str, list[_Wanted]]) -> None:
            answer.string(topic[0])
            answer.array(
                topic[1], lambda one: self._write_fetched(one, found[one], committed_only, version, answer)
            )

        answer.array(topics, write_topic)

    async def list_offsets(self, request: Reader, version: int, answer: Writer) -> None:
        """Return the first or last offsets, or those at a timestamp."""
        request.int32()
        committed_only = version >= 2 and request.int8() == _READ_COMMITTED

        def read_partition(topic: str) -> _Wanted:
            number = request.int32()
            if version >= 4:
                request.int32()
            return _Wanted(topic, number, request.int64())

        def read_topic() -> tuple[str, list[_Wanted]]:
            topic = request.string()
            return topic, request.array(lambda: read_partition(topic))

        def write_partition(one: _Wanted) -> None:
            partition = self._topics.find(one.topic, one.number)
            timestamp, offset = -1, -1
            if partition is not None:
                timestamp, offset = _find_offset(partition, one.offset, committed_only)
            answer.int32(one.number)
            answer.int16(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION if partition is None else ErrorCode.NONE)
            answer.int64(timestamp)
            answer.int64(offset)
            if version >= 4:
                answer.int32(LEADER_EPOCH)

        def write_topic(topic: tuple[str, list[_Wanted]]) -> None:
            answer.string(topic[0])
            answer.array(topic[1], write_partition)

        topics = request.array(read_topic)
        if version >= 2:
            answer.int32(0)
        answer.array(topics, write_topic)

    def _store(self, topic: str, number: int, data: bytes | None) -> _Stored:
        partition = self._topics.find(topic, number)
        if partition is None:
            return _Stored(number, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
        try:
            header = check_produced(data, _MAX_BATCH_BYTES)
            if header.transactional:
                self._transactions.check_batch(header.producer_id, header.producer_epoch, topic, number)
            offset = partition.append(data or b"", header)
        except (BadBatchError, TransactionError) as error:
            return _Stored(number, error.code, message=str(error))
        except PartitionFullError as error:
            # Clients retry later; until then no part of the batch is stored.
            return _Stored(number, ErrorCode.KAFKA_STORAGE_ERROR, message=str(error))
        except OSError as error:
            _log.warning("Cannot write to partition %d of %s: %s", number, topic, error)
            return _Stored(number, ErrorCode.KAFKA_STORAGE_ERROR, message=str(error))
        return _Stored(number, ErrorCode.NONE, offset, partition.start_offset)

    async def _fetch(
        self, wanted: list[_Wanted], max_wait_s: float, min_bytes: int, max_bytes: int, committed_only: bool
    ) -> dict[_Wanted, bytes | ErrorCode]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + max_wait_s
        while True:
            found = self._read(wanted, max_bytes, committed_only)
            failed = any(isinstance(one, ErrorCode) for one in found.values())
            n_bytes = sum(len(one) for one in found.values() if isinstance(one, bytes))
            left = deadline - loop.time()
            if failed or n_bytes >= min_bytes or left <= 0:
                return found
            partitions = (self._topics.find(one.topic, one.number) for one in wanted)
            await wait_for_any([one.arrived for one in partitions if one is not None], left)

    def _read(
        self, wanted: list[_Wanted], max_bytes: int, committed_only: bool
    ) -> dict[_Wanted, bytes | ErrorCode]:
        found: dict[_Wanted, bytes | ErrorCode] = {}
        left = max_bytes
        for one in wanted:
            partition = self._topics.find(one.topic, one.number)
            if partition is None:
                found[one] = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            elif not partition.start_offset <= one.offset <= partition.end_offset:
                found[one] = ErrorCode.OFFSET_OUT_OF_RANGE
            else:
                # The first batch is sent whatever its size, or a client with a small limit would hang.
                first = left == max_bytes
                data = partition.read(one.offset, min(one.max_bytes, left), committed_only, first)
                left -= len(data)
                found[one] = data
        return found

    def _write_fetched(
        self, one: _Wanted, found: bytes | ErrorCode, committed_only: bool, version: int, answer: Writer
    ) -> None:
        partition = self._topics.find(one.topic, one.number)
        answer.int32(one.number)
        answer.int16(found if isinstance(found, ErrorCode) else ErrorCode.NONE)
        answer.int64(-1 if partition is None else partition.end_offset)
        answer.int64(-1 if partition is None else partition.last_stable_offset)
        if version >= 5:
            answer.int64(-1 if partition is None else partition.start_offset)
        aborted = partition.aborted_from(one.offset) if partition is not None and committed_only else []

        def write_aborted(pair: tuple[int, int]) -> None:
            answer.int64(pair[0])
            answer.int64(pair[1])

        answer.array(((gone.producer_id, gone.first_offset) for gone in aborted), write_aborted)
        if version >= 11:
            answer.int32(-1)
        answer.bytes(found if isinstance(found, bytes) else b"")


def _find_offset(partition: Partition, timestamp: int, committed_only: bool) -> tuple[int, int]:
    if timestamp == _EARLIEST:
        return -1, partition.start_offset
    if timestamp == _LATEST:
        return -1, partition.last_stable_offset if committed_only else partition.end_offset
    return partition.first_newer(timestamp) or (-1, -1)
