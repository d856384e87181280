"""All consumer groups, and their progress in a partition."""

from __future__ import annotations

from .consumer_group import Group
from .partitions import Floor

__all__ = ["Groups"]


class Groups:
    """All consumer groups."""

    def __init__(self) -> None:
        self._groups: dict[str, Group] = {}

    def get(self, group_id: str) -> Group | None:
        """Return a group; `None` if it does not exist."""
        return self._groups.get(group_id)

    def get_or_make(self, group_id: str) -> Group:
        """Return a group, created if it does not exist."""
        return self._groups.setdefault(group_id, Group(group_id))

    def read_floor(self, topic: str, partition: int) -> Floor:
        """Return the offset up to which all groups with a committed offset have read a partition.

        A group whose members have subscribed to the topic, but have not yet committed, has read nothing.
        """
        floor = Floor(None)
        for group in self._groups.values():
            committed = group.offsets.get((topic, partition))
            if committed is None and topic not in group.topics():
                continue
            offset = committed.offset if committed else 0
            if floor.offset is None or offset < floor.offset:
                floor = Floor(offset, group.group_id)
        return floor

    def close(self) -> None:
        """Stop all timers."""
        for group in self._groups.values():
            group.close()
