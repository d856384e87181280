"""The topics of the broker, created by an administrator or by the first client that names one."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from .partitions import Floor, Partition
from .wire import ErrorCode

__all__ = ["TopicRefusedError", "Topics"]

_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_MAX_PARTITIONS = 1000
"""Largest number of partitions of all topics: each has an open file."""


class TopicRefusedError(Exception):
    """Error for a topic that cannot be created, with the error code for the client and the reason."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Topics:
    """All topics and their partitions.

    Parameters
    ----------
    folder
        Folder in which to create the partitions' folders.
    partition_bytes
        Limit of each partition in bytes.
    read_floor
        Function that returns the readers' progress in a partition of a topic.
    default_partitions
        Partitions of topics that are created by first use.
    """

    def __init__(
        self,
        folder: Path,
        partition_bytes: int,
        read_floor: Callable[[str, int], Floor],
        default_partitions: int = 1,
    ) -> None:
        self._folder = folder
        self._partition_bytes = partition_bytes
        self._read_floor = read_floor
        self._default_partitions = default_partitions
        self._topics: dict[str, list[Partition]] = {}

    def names(self) -> list[str]:
        """Return the names of all topics."""
        return sorted(self._topics)

    def partitions(self, topic: str) -> list[Partition] | None:
        """Return the partitions of a topic; `None` if it does not exist."""
        return self._topics.get(topic)

    def find(self, topic: str, number: int) -> Partition | None:
        """Return a partition; `None` if it does not exist."""
        partitions = self._topics.get(topic, [])
        return partitions[number] if 0 <= number < len(partitions) else None

    def check_new(self, topic: str, n_partitions: int = -1) -> int:
        """Return the number of partitions of a new topic.

        Raises
        ------
        TopicRefusedError
            Raised if it cannot be created.
        """
        count = self._default_partitions if n_partitions == -1 else n_partitions
        if not _NAME.fullmatch(topic) or topic in (".", ".."):
            raise TopicRefusedError(
                ErrorCode.INVALID_TOPIC_EXCEPTION, f"{topic!r} is not the name of a topic"
            )
        if topic in self._topics:
            raise TopicRefusedError(ErrorCode.TOPIC_ALREADY_EXISTS, f"topic {topic} exists")
        if count < 1:
            raise TopicRefusedError(ErrorCode.INVALID_PARTITIONS, f"{count} partitions")
        if count + sum(map(len, self._topics.values())) > _MAX_PARTITIONS:
            raise TopicRefusedError(
                ErrorCode.POLICY_VIOLATION, f"more than {_MAX_PARTITIONS} partitions in all"
            )
        return count

    def create(self, topic: str, n_partitions: int = -1) -> list[Partition]:
        """Create a topic and return its partitions; -1 selects the default number.

        Raises
        ------
        TopicRefusedError
            Raised if it cannot be created.
        OSError
            Raised if its files cannot be created.
        """
        count = self.check_new(topic, n_partitions)
        self._topics[topic] = [self._make(topic, number) for number in range(count)]
        return self._topics[topic]

    def close(self) -> None:
        """Close the files of all partitions."""
        for partitions in self._topics.values():
            for partition in partitions:
                partition.close()

    def _make(self, topic: str, number: int) -> Partition:
        return Partition(
            topic,
            number,
            self._folder / f"{topic}-{number}",
            self._partition_bytes,
            lambda: self._read_floor(topic, number),
        )
