"""One partition: its log, its producers, its open transactions, and its retention.

A partition has a limit in bytes. Where a batch would exceed it, the oldest files are removed as far as every
consumer group of the partition has committed them. If that is not enough, the batch is refused with an error
that clients retry: unread messages are never removed. As long as no group has committed an offset, all
messages count as unread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .producers import ProducerStates
from .record_batches import BadBatchError, BatchHeader, read_header, transaction_marker
from .segments import SegmentedLog
from .signals import Signal
from .wire import ErrorCode

__all__ = ["AbortedTransaction", "Floor", "Partition", "PartitionFullError"]

_log = logging.getLogger("prompt_processing.embedded_broker")

_SEGMENTS_PER_PARTITION = 8


class PartitionFullError(Exception):
    """Error for a batch that exceeds the room until messages are read; its message names the reader."""


@dataclass(frozen=True, slots=True)
class Floor:
    """Progress of the readers of a partition.

    Attributes
    ----------
    offset
        All earlier records are read; `None` without a reader.
    reader
        The group that is furthest behind.
    """

    offset: int | None
    reader: str = ""


@dataclass(frozen=True, slots=True)
class AbortedTransaction:
    """Records of a producer, between two offsets (inclusive), that consumers must not read."""

    producer_id: int
    first_offset: int
    last_offset: int


class Partition:
    """One partition of a topic.

    Parameters
    ----------
    topic, number
        Topic and number of the partition.
    folder
        New folder for its files.
    max_bytes
        Limit of the stored bytes.
    read_floor
        Function that returns the readers' progress.
    """

    def __init__(
        self, topic: str, number: int, folder: Path, max_bytes: int, read_floor: Callable[[], Floor]
    ) -> None:
        self.topic = topic
        self.number = number
        self.arrived = Signal()
        self._log = SegmentedLog(folder, max_bytes // _SEGMENTS_PER_PARTITION)
        self._max_bytes = max_bytes
        self._read_floor = read_floor
        self._producers = ProducerStates()
        self._open_transactions: dict[int, int] = {}
        self._aborted: list[AbortedTransaction] = []
        self._refused = 0

    @property
    def start_offset(self) -> int:
        """Offset of the first stored record."""
        return self._log.start_offset

    @property
    def end_offset(self) -> int:
        """Offset of the next record."""
        return self._log.end_offset

    @property
    def last_stable_offset(self) -> int:
        """Offset of the first record whose transaction is open; `end_offset` without one."""
        return min(self._open_transactions.values(), default=self.end_offset)

    def append(self, data: bytes, header: BatchHeader) -> int:
        """Store a producer's batch and return the offset of its first record.

        Raises
        ------
        BadBatchError
            Raised if the batch is not the producer's next one.
        PartitionFullError
            Raised if too much is unread.
        OSError
            Raised if it cannot be written.
        """
        if header.producer_id >= 0 and (known := self._producers.check(header)) is not None:
            return known
        try:
            self._make_room(len(data))
            offset = self._log.append(data, header)
        except (PartitionFullError, OSError):
            if header.producer_id >= 0:
                self._producers.note_refused(header)
            raise
        if header.producer_id >= 0:
            self._producers.note(header, offset)
        if header.transactional:
            self._open_transactions.setdefault(header.producer_id, offset)
        self.arrived.fire()
        return offset

    def end_transaction(self, producer_id: int, epoch: int, committed: bool) -> None:
        """Write the marker that ends a transaction, even into a full partition.

        Raises
        ------
        OSError
            Raised if it cannot be written.
        """
        marker = transaction_marker(producer_id, epoch, committed)
        offset = self._log.append(marker, read_header(marker))
        first = self._open_transactions.pop(producer_id, None)
        if first is not None and not committed:
            self._aborted.append(AbortedTransaction(producer_id, first, offset))
        self._producers.note_epoch(producer_id, epoch)
        self.arrived.fire()

    def read(self, offset: int, max_bytes: int, committed_only: bool, at_least_one: bool) -> bytes:
        """Return whole batches from an offset on; see `~.segments.SegmentedLog.read`."""
        before = self.last_stable_offset if committed_only else self.end_offset
        return self._log.read(offset, max_bytes, before, at_least_one)

    def aborted_from(self, offset: int) -> list[AbortedTransaction]:
        """Return the aborted transactions with records at or after an offset, in order of their start."""
        found = [transaction for transaction in self._aborted if transaction.last_offset >= offset]
        return sorted(found, key=lambda transaction: transaction.first_offset)

    def first_newer(self, timestamp_ms: int) -> tuple[int, int] | None:
        """Return timestamp and offset of the first batch with a record of this time or newer."""
        return self._log.first_newer(timestamp_ms)

    def close(self) -> None:
        """Close its files."""
        self._log.close()

    def _make_room(self, wanted: int) -> None:
        if wanted > self._max_bytes:
            raise BadBatchError(ErrorCode.MESSAGE_TOO_LARGE, f"a partition keeps {self._max_bytes} bytes")
        if self._log.size + wanted > self._max_bytes:
            floor = self._read_floor()
            removable = min(floor.offset or 0, self.last_stable_offset)
            while self._log.size + wanted > self._max_bytes and self._log.drop_oldest(removable):
                start = self._log.start_offset
                self._aborted = [aborted for aborted in self._aborted if aborted.last_offset >= start]
            if self._log.size + wanted > self._max_bytes:
                self._refuse(floor)
        if self._refused:
            _log.warning(
                "Partition %d of %s accepts messages again; it refused %d batches.",
                self.number,
                self.topic,
                self._refused,
            )
            self._refused = 0

    def _refuse(self, floor: Floor) -> None:
        why = (
            "no consumer group has committed an offset"
            if floor.offset is None
            else f"group {floor.reader} has read up to offset {floor.offset} of {self.end_offset}"
        )
        message = (
            f"Partition {self.number} of {self.topic} is full: {self._log.size} bytes are unread; {why}."
        )
        if not self._refused:
            _log.warning("%s Batches are refused until there is room.", message)
        self._refused += 1
        raise PartitionFullError(message)
