"""Producer ids and transactions: the contents of a transaction are committed as a whole, or not at all."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

from .groups import Groups
from .partitions import Partition
from .wire import ErrorCode

__all__ = ["TransactionError", "Transactions"]

_log = logging.getLogger("prompt_processing.embedded_broker")

_MAX_TIMEOUT_MS = 900_000
_MAX_EPOCH = 0x7FFE


class TransactionError(Exception):
    """Error for a producer's request that is refused."""

    def __init__(self, code: ErrorCode) -> None:
        super().__init__(code.name)
        self.code = code


@dataclass(eq=False, slots=True)
class _Transactional:
    """A transactional id: its producer, and the open or last transaction."""

    name: str
    producer_id: int
    epoch: int = -1
    timeout_ms: int = 0
    is_open: bool = False
    last_committed: bool | None = None
    partitions: dict[tuple[str, int], Partition] = field(default_factory=dict)
    groups: set[str] = field(default_factory=set)
    timer: asyncio.TimerHandle | None = None


class Transactions:
    """Coordinator of transactions.

    Parameters
    ----------
    groups
        Consumer groups, whose offsets can be part of a transaction.
    """

    def __init__(self, groups: Groups) -> None:
        self._groups = groups
        self._by_name: dict[str, _Transactional] = {}
        self._by_producer: dict[int, _Transactional] = {}
        self._last_producer_id = 0

    def new_producer(self) -> tuple[int, int]:
        """Return id and epoch for a producer without transactions."""
        return self._new_id(), 0

    def initialise(
        self, name: str, timeout_ms: int, producer_id: int = -1, epoch: int = -1
    ) -> tuple[int, int]:
        """Return id and epoch for a producer with transactions, and fence all earlier ones of that name.

        Parameters
        ----------
        name
            Transactional id.
        timeout_ms
            A transaction that is open for longer is aborted.
        producer_id, epoch
            Id and epoch of a producer that restarts; -1 if it has none yet.

        Raises
        ------
        TransactionError
            Raised if the timeout is invalid, or the producer has been replaced already.
        OSError
            Raised if an open transaction cannot be ended.
        """
        if not 0 < timeout_ms <= _MAX_TIMEOUT_MS:
            raise TransactionError(ErrorCode.INVALID_TRANSACTION_TIMEOUT)
        if (ours := self._by_name.get(name)) is None:
            ours = self._by_name[name] = _Transactional(name, self._new_id())
            self._by_producer[ours.producer_id] = ours
        if producer_id >= 0 and (producer_id, epoch) != (ours.producer_id, ours.epoch):
            raise TransactionError(ErrorCode.PRODUCER_FENCED)
        ours.epoch += 1
        if ours.is_open:
            self._end(ours, committed=False)
        if ours.epoch >= _MAX_EPOCH:
            del self._by_producer[ours.producer_id]
            ours.producer_id, ours.epoch = self._new_id(), 0
            self._by_producer[ours.producer_id] = ours
        ours.timeout_ms = timeout_ms
        ours.last_committed = None
        return ours.producer_id, ours.epoch

    def add_partitions(self, name: str, producer_id: int, epoch: int, partitions: list[Partition]) -> None:
        """Make partitions part of a producer's transaction, which is open from now on.

        Raises
        ------
        TransactionError
            Raised if the producer does not own that name.
        """
        ours = self._check(name, producer_id, epoch)
        self._open(ours)
        ours.partitions.update({(one.topic, one.number): one for one in partitions})

    def add_group(self, name: str, producer_id: int, epoch: int, group_id: str) -> None:
        """Make a group's offsets part of a producer's transaction, which is open from now on.

        Raises
        ------
        TransactionError
            Raised if the producer does not own that name.
        """
        ours = self._check(name, producer_id, epoch)
        self._open(ours)
        ours.groups.add(group_id)

    def check_batch(self, producer_id: int, epoch: int, topic: str, partition: int) -> None:
        """Check that a batch in a partition belongs to a producer's open transaction.

        Raises
        ------
        TransactionError
            Raised if it does not.
        """
        ours = self._by_producer.get(producer_id)
        if ours is None:
            raise TransactionError(ErrorCode.INVALID_PRODUCER_ID_MAPPING)
        if epoch != ours.epoch:
            raise TransactionError(ErrorCode.INVALID_PRODUCER_EPOCH)
        if not ours.is_open or (topic, partition) not in ours.partitions:
            raise TransactionError(ErrorCode.INVALID_TXN_STATE)

    def check_offsets(self, name: str, producer_id: int, epoch: int, group_id: str) -> None:
        """Check that a group's offsets belong to a producer's open transaction.

        Raises
        ------
        TransactionError
            Raised if they do not.
        """
        ours = self._check(name, producer_id, epoch)
        if not ours.is_open or group_id not in ours.groups:
            raise TransactionError(ErrorCode.INVALID_TXN_STATE)

    def end(self, name: str, producer_id: int, epoch: int, committed: bool) -> None:
        """Commit or abort the open transaction; repeating the same request is harmless.

        Raises
        ------
        TransactionError
            Raised if the producer does not own that name, or no transaction is open.
        OSError
            Raised if it cannot be ended; the producer may retry.
        """
        ours = self._check(name, producer_id, epoch)
        if ours.is_open:
            self._end(ours, committed)
        elif ours.last_committed is not committed:
            raise TransactionError(ErrorCode.INVALID_TXN_STATE)

    def close(self) -> None:
        """Stop all timers."""
        for ours in self._by_name.values():
            if ours.timer is not None:
                ours.timer.cancel()

    def _new_id(self) -> int:
        self._last_producer_id += 1
        return self._last_producer_id

    def _check(self, name: str, producer_id: int, epoch: int) -> _Transactional:
        ours = self._by_name.get(name)
        if ours is None or ours.producer_id != producer_id:
            raise TransactionError(ErrorCode.INVALID_PRODUCER_ID_MAPPING)
        if ours.epoch != epoch:
            raise TransactionError(ErrorCode.PRODUCER_FENCED)
        return ours

    def _open(self, ours: _Transactional) -> None:
        if not ours.is_open:
            ours.is_open = True
            ours.timer = asyncio.get_running_loop().call_later(ours.timeout_ms / 1000, self._expire, ours)

    def _end(self, ours: _Transactional, committed: bool) -> None:
        # One by one: if a marker cannot be written, the next attempt continues from there.
        while ours.partitions:
            place, partition = next(iter(ours.partitions.items()))
            partition.end_transaction(ours.producer_id, ours.epoch, committed)
            del ours.partitions[place]
        for group_id in ours.groups:
            self._groups.get_or_make(group_id).offsets.end_transaction(ours.producer_id, committed)
        ours.groups.clear()
        ours.is_open = False
        ours.last_committed = committed
        if ours.timer is not None:
            ours.timer.cancel()
            ours.timer = None

    def _expire(self, ours: _Transactional) -> None:
        _log.warning(
            "The transaction of %s is aborted: it was open for more than %d ms.", ours.name, ours.timeout_ms
        )
        # Its producer may still be active.
        ours.epoch += 1
        try:
            self._end(ours, committed=False)
        except OSError as error:
            _log.warning("The transaction cannot be ended yet: %s", error)
            ours.timer = asyncio.get_running_loop().call_later(1.0, self._expire, ours)
