"""A partition's record of its producers, by which a batch that is sent twice is stored once."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field

from .record_batches import BadBatchError, BatchHeader
from .wire import ErrorCode

__all__ = ["ProducerStates"]

_REMEMBERED_BATCHES = 5
"""Number of batches that a client may have in flight."""
_REMEMBERED_PRODUCERS = 1000


@dataclass(slots=True)
class _Producer:
    epoch: int
    expected: int | None = None
    batches: deque[tuple[int, int, int]] = field(default_factory=lambda: deque(maxlen=_REMEMBERED_BATCHES))


class ProducerStates:
    """Epochs and sequence numbers of the idempotent producers of one partition."""

    def __init__(self) -> None:
        self._producers: OrderedDict[int, _Producer] = OrderedDict()

    def check(self, header: BatchHeader) -> int | None:
        """Return the offset that a batch already has, or `None` if it is the producer's next one.

        Raises
        ------
        BadBatchError
            Raised if the producer has been replaced, or an earlier batch is missing.
        """
        known = self._producers.get(header.producer_id)
        if known is None:
            return None
        if header.producer_epoch < known.epoch:
            raise BadBatchError(
                ErrorCode.INVALID_PRODUCER_EPOCH, "a newer instance of the producer is active"
            )
        if header.producer_epoch > known.epoch:
            expected: int | None = 0
        else:
            for first, last, offset in known.batches:
                if (header.base_sequence, header.last_sequence) == (first, last):
                    return offset
            expected = known.expected
        if expected is not None and header.base_sequence != expected:
            raise BadBatchError(
                ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
                f"sequence number {header.base_sequence} where {expected} is next",
            )
        return None

    def note(self, header: BatchHeader, offset: int) -> None:
        """Remember a batch that has been stored."""
        known = self._of(header.producer_id, header.producer_epoch)
        known.expected = (header.last_sequence + 1) & 0x7FFFFFFF
        known.batches.append((header.base_sequence, header.last_sequence, offset))

    def note_refused(self, header: BatchHeader) -> None:
        """Remember a batch that could not be stored: later batches in flight have to wait."""
        known = self._of(header.producer_id, header.producer_epoch)
        if known.expected is None:
            known.expected = header.base_sequence

    def note_epoch(self, producer_id: int, epoch: int) -> None:
        """Refuse batches of older epochs."""
        self._of(producer_id, epoch)

    def _of(self, producer_id: int, epoch: int) -> _Producer:
        known = self._producers.get(producer_id)
        if known is None or known.epoch < epoch:
            known = self._producers[producer_id] = _Producer(epoch)
        self._producers.move_to_end(producer_id)
        while len(self._producers) > _REMEMBERED_PRODUCERS:
            self._producers.popitem(last=False)
        return known
