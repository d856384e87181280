"""Messages about visits, from a Kafka topic or a folder, each source read on from its last position."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from prompt_processing.domain.outcome_message import LARGEST_MESSAGE
from prompt_processing.transport.kafka import ClusterCheck, KafkaSettings, Refusals, make_consumer

__all__ = ["Batch", "FolderSource", "Positions", "Source", "TopicSource"]

_log = logging.getLogger("lsst.nights.sources")

Positions = Callable[[Iterable[str]], Mapping[str, int]]
"""Returns the stored positions of sources; those never read are missing."""

_CHUNK = 16 * LARGEST_MESSAGE
_PAUSE_S = 0.2
_ALL_NIGHTS_EVERY_S = 60.0
_NEWEST_NIGHTS = 2


@dataclass(slots=True)
class Batch:
    """Messages, not yet parsed.

    Attributes
    ----------
    data
        Place and bytes of each.
    positions
        Position after them, by source.
    too_long
        Lines that were skipped because no message is that long.
    """

    data: list[tuple[str, bytes]] = field(default_factory=list)
    positions: dict[str, int] = field(default_factory=dict)
    too_long: int = 0


class Source(Protocol):
    """Where messages come from."""

    def read(self, limit: int, seconds: float) -> Batch:
        """Return up to this number of messages, or an empty batch after the time."""

    def answers(self) -> bool:
        """Return whether the source can be reached."""

    def close(self) -> None:
        """Close all connections."""


class TopicSource:
    """A Kafka topic; partitions are shared among the projectors of one group.

    Parameters
    ----------
    kafka, topic, group
        Cluster, topic and consumer group.
    positions
        Looks up where partitions are read on; a partition that was never read is read from its beginning.
    """

    def __init__(self, kafka: KafkaSettings, topic: str, group: str, positions: Positions) -> None:
        self._topic = topic
        self._positions = positions
        self._consumer: Consumer = make_consumer(
            kafka,
            group,
            on_error=Refusals(kafka),
            # The database knows the position, and changes it together with the content.
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            topic_metadata_refresh_interval_ms=10_000,
        )
        self.answers = ClusterCheck(self._consumer, topic)
        self._consumer.subscribe([topic], on_assign=self._assign)

    def read(self, limit: int, seconds: float) -> Batch:
        """Return messages; see `Source`."""
        batch = Batch()
        for message in self._consumer.consume(limit, seconds):
            if (error := message.error()) is not None:
                if error.code() != KafkaError._PARTITION_EOF:
                    _log.warning("Kafka: %s", error.str())
                continue
            partition, offset = message.partition(), message.offset()
            if partition is None or offset is None:
                continue
            source = self._name(partition)
            batch.data.append((f"{source}@{offset}", message.value() or b""))
            batch.positions[source] = offset + 1
        return batch

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close()

    def _assign(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        stored = self._positions(self._name(one.partition) for one in partitions)
        for one in partitions:
            one.offset = stored.get(self._name(one.partition), OFFSET_BEGINNING)
        consumer.assign(list(partitions))

    def _name(self, partition: int) -> str:
        return f"{self._topic}[{partition}]"


class FolderSource:
    """A folder that workers append to, see `~prompt_processing.nights.publishing.FolderSink`.

    Parameters
    ----------
    folder
        The folder; it may not exist yet.
    positions
        Looks up where files are read on.
    """

    def __init__(self, folder: Path, positions: Positions) -> None:
        self._folder = folder
        self._lookup = positions
        self._known: dict[str, int] = {}
        self._skipping: set[str] = set()
        self._all_nights_at = float("-inf")

    def answers(self) -> bool:
        """Return whether the folder exists."""
        return self._folder.is_dir()

    def close(self) -> None:
        """Do nothing."""

    def read(self, limit: int, seconds: float) -> Batch:
        """Return messages; see `Source`."""
        deadline = time.monotonic() + seconds
        while True:
            batch = Batch()
            for path in self._files():
                self._read_file(path, limit, batch)
                if len(batch.data) >= limit:
                    break
            if batch.positions or time.monotonic() >= deadline:
                return batch
            time.sleep(min(_PAUSE_S, max(0.0, deadline - time.monotonic())))

    def _files(self) -> list[Path]:
        nights = sorted((one.path for one in _entries(self._folder) if _is_night(one)), reverse=True)
        now = time.monotonic()
        if now - self._all_nights_at < _ALL_NIGHTS_EVERY_S:
            # Old nights hardly ever change, and there are many of them.
            nights = nights[:_NEWEST_NIGHTS]
        else:
            self._all_nights_at = now
        files = [
            Path(one.path)
            for night in nights
            for one in _entries(night)
            if one.name.endswith(".jsonl") and one.is_file(follow_symlinks=False)
        ]
        unknown = [name for name in map(self._name, files) if name not in self._known]
        if unknown:
            self._known |= {**dict.fromkeys(unknown, 0), **self._lookup(unknown)}
        return sorted(files)

    def _read_file(self, path: Path, limit: int, batch: Batch) -> None:
        name = self._name(path)
        try:
            size = path.stat().st_size
            if size < self._known[name]:
                # Another file of the same name: what is known of it changes nothing.
                self._known[name] = 0
            while size > self._known[name] and len(batch.data) < limit:
                with path.open("rb") as file:
                    file.seek(self._known[name])
                    chunk = file.read(_CHUNK)
                if not self._take(name, chunk, batch, limit):
                    return
        except FileNotFoundError:
            # Removed meanwhile.
            return

    def _take(self, name: str, chunk: bytes, batch: Batch, limit: int) -> bool:
        """Take the complete lines of a chunk; return whether there were any."""
        used = 0
        while len(batch.data) < limit and (end := chunk.find(b"\n", used)) >= 0:
            line, begin, used = chunk[used:end].strip(), self._known[name] + used, end + 1
            if name in self._skipping:
                self._skipping.discard(name)
            elif line:
                batch.data.append((f"{name}@{begin}", line))
        if not used and len(chunk) == _CHUNK:
            if name not in self._skipping:
                batch.too_long += 1
                self._skipping.add(name)
            used = len(chunk)
        if used:
            self._known[name] += used
            batch.positions[name] = self._known[name]
        return used > 0

    def _name(self, path: Path) -> str:
        return f"{path.parent.name}/{path.name}"


def _entries(folder: str | Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except FileNotFoundError:
        return []


def _is_night(entry: os.DirEntry[str]) -> bool:
    return entry.name.isdecimal() and len(entry.name) == 8 and entry.is_dir(follow_symlinks=False)
