"""The log of a partition: batches in files of limited size, with a sparse index of each in memory."""

from __future__ import annotations

import os
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

from .record_batches import HEADER_BYTES, BatchHeader, placed, read_header

__all__ = ["SegmentedLog"]

_INDEX_INTERVAL_BYTES = 4096
_LEADER_EPOCH = 0


class SegmentedLog:
    """Batches in order of arrival.

    Parameters
    ----------
    folder
        Folder to create for the files; must not exist.
    segment_bytes
        Size at which a new file is started.
    """

    def __init__(self, folder: Path, segment_bytes: int) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._segments = [_Segment(folder, 0)]

    @property
    def start_offset(self) -> int:
        """Offset of the first stored record."""
        return self._segments[0].base_offset

    @property
    def end_offset(self) -> int:
        """Offset of the next record."""
        return self._segments[-1].end_offset

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(segment.size for segment in self._segments)

    def append(self, data: bytes, header: BatchHeader) -> int:
        """Store a batch and return the offset of its first record.

        Raises
        ------
        OSError
            Raised if it cannot be stored; the log is then unchanged.
        """
        if self._segments[-1].size >= self._segment_bytes:
            self._segments.append(_Segment(self._folder, self.end_offset))
        offset = self.end_offset
        self._segments[-1].append(placed(data, offset, _LEADER_EPOCH), offset + header.last_offset_delta + 1)
        return offset

    def read(self, offset: int, max_bytes: int, before: int, at_least_one: bool) -> bytes:
        """Return whole batches.

        Parameters
        ----------
        offset
            Record in the first batch; it must exist.
        max_bytes
            Limit of the total length.
        before
            Offset before which the batches begin.
        at_least_one
            Whether to return the first batch even if it is longer than ``max_bytes``.
        """
        if not self.start_offset <= offset < min(before, self.end_offset):
            return b""
        segment = self._segments[bisect_right(self._segments, offset, key=lambda s: s.base_offset) - 1]
        position = segment.position_near(offset)
        data = segment.read(position, max(max_bytes, HEADER_BYTES) + _INDEX_INTERVAL_BYTES)
        first = last = 0
        for start, header in _headers(data):
            end = start + header.size
            if header.next_offset <= offset:
                first = last = end
            elif header.base_offset >= before:
                break
            elif end - first > max_bytes or end > len(data):
                if last == first and at_least_one:
                    return segment.read(position + first, header.size)
                break
            else:
                last = end
        return data[first:last]

    def first_newer(self, timestamp_ms: int) -> tuple[int, int] | None:
        """Return timestamp and offset of the first batch that has a record of this time or newer."""
        for segment in self._segments:
            position = 0
            while position < segment.size:
                header = read_header(segment.read(position, HEADER_BYTES))
                if header.max_timestamp >= timestamp_ms:
                    return header.max_timestamp, header.base_offset
                position += header.size
        return None

    def drop_oldest(self, before: int) -> bool:
        """Remove the oldest file if all of its records are before an offset; return whether it did."""
        oldest = self._segments[0]
        if oldest.size == 0 or oldest.end_offset > before:
            return False
        if len(self._segments) == 1:
            self._segments.append(_Segment(self._folder, oldest.end_offset))
        self._segments.pop(0).remove()
        return True

    def close(self) -> None:
        """Close the files."""
        for segment in self._segments:
            segment.close()


class _Segment:
    """One file."""

    def __init__(self, folder: Path, base_offset: int) -> None:
        self._path = folder / f"{base_offset:020d}.log"
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self.base_offset = base_offset
        self.end_offset = base_offset
        self.size = 0
        self._offsets = array("q")
        self._positions = array("q")

    def append(self, data: bytes, end_offset: int) -> None:
        written = 0
        try:
            while written < len(data):
                written += os.pwrite(self._file, memoryview(data)[written:], self.size + written)
        except OSError:
            os.ftruncate(self._file, self.size)
            raise
        if not self._positions or self.size - self._positions[-1] >= _INDEX_INTERVAL_BYTES:
            self._offsets.append(self.end_offset)
            self._positions.append(self.size)
        self.size += len(data)
        self.end_offset = end_offset

    def position_near(self, offset: int) -> int:
        """Return the position of the batch with this record, or of one shortly before it."""
        return self._positions[bisect_right(self._offsets, offset) - 1]

    def read(self, position: int, length: int) -> bytes:
        return os.pread(self._file, min(length, self.size - position), position)

    def remove(self) -> None:
        self.close()
        self._path.unlink()

    def close(self) -> None:
        os.close(self._file)


def _headers(data: bytes) -> Iterator[tuple[int, BatchHeader]]:
    position = 0
    while position + HEADER_BYTES <= len(data):
        header = read_header(data, position)
        yield position, header
        position += header.size
