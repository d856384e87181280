"""How far each partition has been dealt with, when messages are dealt with out of order."""

from collections import OrderedDict
from typing import Any, NamedTuple, Protocol

__all__ = ["Message", "OffsetTracker", "Position"]


class Message(Protocol):
    """The part of ``confluent_kafka.Message`` that is used here."""

    def error(self) -> Any | None:
        """Return the error that this event stands for, if it is none of the messages."""
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
    """A place in a topic, in the order that ``confluent_kafka.TopicPartition`` takes."""

    topic: str
    partition: int
    offset: int


class OffsetTracker:
    """Finds the offsets that may be committed: those before which everything is finished."""

    def __init__(self) -> None:
        # Offset -> finished, in the order of arrival, by topic and partition.
        self._begun: dict[tuple[str, int], OrderedDict[int, bool]] = {}

    def begin(self, message: Message) -> Position:
        """Note that a message is being dealt with; returns what to call `finish` with."""
        position = Position(message.topic(), message.partition(), message.offset())
        self._begun.setdefault((position.topic, position.partition), OrderedDict())[position.offset] = False
        return position

    def finish(self, position: Position) -> list[Position]:
        """Note that a message is finished.

        Returns
        -------
        commits
            The offset to commit, if one has become due: that of the first message not yet finished, or
            the one after the last.
        """
        begun = self._begun.get((position.topic, position.partition), OrderedDict())
        if position.offset not in begun:
            return []  # Committed before: it was finished twice.
        begun[position.offset] = True
        due = None
        while begun and begun[next(iter(begun))]:
            due, _ = begun.popitem(last=False)
        return [] if due is None else [Position(position.topic, position.partition, due + 1)]
