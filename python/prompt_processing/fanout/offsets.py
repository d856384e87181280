"""Track the offsets to commit when messages finish out of order."""

from collections import OrderedDict
from typing import Any, NamedTuple, Protocol

__all__ = ["Message", "OffsetTracker", "Position"]


class Message(Protocol):
    """The part of ``confluent_kafka.Message`` that is used here."""

    def error(self) -> Any | None:
        """Return the error, if this event is an error and not a message."""
        ...

    def topic(self) -> str:
        """Return the topic."""
        ...

    def partition(self) -> int:
        """Return the partition."""
        ...

    def offset(self) -> int:
        """Return the offset in the partition."""
        ...

    def value(self) -> bytes | None:
        """Return the bytes."""
        ...


class Position(NamedTuple):
    """A position in a topic, with the fields in the order of ``confluent_kafka.TopicPartition``."""

    topic: str
    partition: int
    offset: int


class OffsetTracker:
    """Find the offsets that may be committed, before which all messages are finished."""

    def __init__(self) -> None:
        # Offset -> finished, in the order of arrival, by topic and partition.
        self._begun: dict[tuple[str, int], OrderedDict[int, bool]] = {}

    def begin(self, message: Message) -> Position:
        """Record that a message has begun; return its position for `finish`."""
        position = Position(message.topic(), message.partition(), message.offset())
        self._begun.setdefault((position.topic, position.partition), OrderedDict())[position.offset] = False
        return position

    def finish(self, position: Position) -> list[Position]:
        """Record that a message is finished.

        Returns
        -------
        commits
            The offset to commit, if it has advanced: that of the first unfinished message, or the one
            after the last message.
        """
        begun = self._begun.get((position.topic, position.partition), OrderedDict())
        if position.offset not in begun:
            return []  # Finished and committed before.
        begun[position.offset] = True
        due = None
        while begun and begun[next(iter(begun))]:
            due, _ = begun.popitem(last=False)
        return [] if due is None else [Position(position.topic, position.partition, due + 1)]
