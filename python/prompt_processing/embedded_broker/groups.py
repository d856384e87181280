"""All consumer groups, and up to where they have read a partition."""

from __future__ import annotations

from .consumer_group import Group
from .partitions import Floor

__all__ = ["Groups"]


class Groups:
    """All consumer groups."""

    def __init__(self) -> None:
        self._groups: dict[str, Group] = {}

    def get(self, group_id: str) -> Group | None:
        """Return a group; `None` if there is no such group."""
        return self._groups.get(group_id)

    def get_or_make(self, group_id: str) -> Group:
        """Return a group, a new one if there is no such group."""
        return self._groups.setdefault(group_id, Group(group_id))

    def read_floor(self, topic: str, partition: int) -> Floor:
        """Return up to where a partition has been read by all groups that have committed an offset of it.

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
