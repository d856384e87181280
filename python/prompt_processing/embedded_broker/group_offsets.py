"""The offsets that a consumer group has committed, some of them in open transactions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["CommittedOffset", "GroupOffsets", "Place"]

Place = tuple[str, int]
"""Topic and number of a partition."""


@dataclass(frozen=True, slots=True)
class CommittedOffset:
    """Position at which a group continues to read.

    Attributes
    ----------
    offset
        Offset of the next record.
    leader_epoch
        Epoch sent by the client; -1 without one.
    metadata
        Text sent by the client.
    """

    offset: int
    leader_epoch: int = -1
    metadata: str = ""


class GroupOffsets:
    """Committed offsets of one group."""

    def __init__(self) -> None:
        self._committed: dict[Place, CommittedOffset] = {}
        self._pending: dict[int, dict[Place, CommittedOffset]] = {}

    def __bool__(self) -> bool:
        return bool(self._committed)

    def places(self) -> list[Place]:
        """Return the partitions with a committed offset."""
        return sorted(self._committed)

    def get(self, place: Place) -> CommittedOffset | None:
        """Return the committed offset of a partition."""
        return self._committed.get(place)

    def commit(self, offsets: Mapping[Place, CommittedOffset]) -> None:
        """Commit offsets."""
        self._committed.update(offsets)

    def commit_in_transaction(self, producer_id: int, offsets: Mapping[Place, CommittedOffset]) -> None:
        """Commit offsets when a producer's transaction is committed."""
        self._pending.setdefault(producer_id, {}).update(offsets)

    def end_transaction(self, producer_id: int, committed: bool) -> None:
        """Apply or discard the offsets of a producer's transaction."""
        offsets = self._pending.pop(producer_id, {})
        if committed:
            self._committed.update(offsets)

    def unstable(self, place: Place) -> bool:
        """Return whether an open transaction may change a partition's offset."""
        return any(place in offsets for offsets in self._pending.values())
