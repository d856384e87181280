"""Record batches of version 2: headers are parsed, records are never unpacked."""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass

from .wire import ErrorCode

__all__ = [
    "HEADER_BYTES",
    "BadBatchError",
    "BatchHeader",
    "check_produced",
    "placed",
    "read_header",
    "transaction_marker",
]

_HEADER = struct.Struct(">qiibIhiqqqhii")
HEADER_BYTES = _HEADER.size
"""Length of a batch's header; the records follow."""
_LENGTH_FROM = 12
"""A batch's length is counted from here."""
_CHECKSUM_FROM = 21
"""A batch's checksum is computed from here; the broker may change earlier bytes."""
_MAGIC = 2
_TRANSACTIONAL = 0x10
_CONTROL = 0x20
_CRC32C_POLYNOMIAL = 0x82F63B78


class BadBatchError(Exception):
    """Error for a batch that cannot be stored, with the error code for its producer and the reason."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True, slots=True)
class BatchHeader:
    """Fields of a batch that the broker needs.

    Attributes
    ----------
    base_offset
        Offset of the first record.
    size
        Length of the whole batch in bytes.
    attributes
        Bits: compression, transactional, control.
    last_offset_delta
        Offset of the last record, from ``base_offset``.
    max_timestamp
        Newest timestamp of its records, in milliseconds since 1970.
    producer_id, producer_epoch, base_sequence
        Values of an idempotent producer; -1 without one.
    """

    base_offset: int
    size: int
    attributes: int
    last_offset_delta: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int

    @property
    def next_offset(self) -> int:
        """Offset after the last record."""
        return self.base_offset + self.last_offset_delta + 1

    @property
    def last_sequence(self) -> int:
        """Sequence number of the last record; these numbers wrap around after 2^31 - 1."""
        return (self.base_sequence + self.last_offset_delta) & 0x7FFFFFFF

    @property
    def transactional(self) -> bool:
        """Whether the batch belongs to a transaction."""
        return bool(self.attributes & _TRANSACTIONAL)

    @property
    def control(self) -> bool:
        """Whether the batch is a marker written by the broker instead of data."""
        return bool(self.attributes & _CONTROL)


def read_header(data: bytes, position: int = 0) -> BatchHeader:
    """Read the header of the batch that begins at a position.

    Raises
    ------
    struct.error
        Raised if the data end within the header.
    """
    fields = _HEADER.unpack_from(data, position)
    base_offset, length, _, _, _, attributes, delta, _, newest, producer, epoch, sequence, _ = fields
    return BatchHeader(
        base_offset, _LENGTH_FROM + length, attributes, delta, newest, producer, epoch, sequence
    )


def check_produced(data: bytes | None, max_bytes: int) -> BatchHeader:
    """Check that a producer's data are one storable batch, and return its header.

    Raises
    ------
    BadBatchError
        Raised if they are not.
    """
    if data is None or len(data) < HEADER_BYTES:
        raise BadBatchError(ErrorCode.INVALID_RECORD, "no record batch")
    if len(data) > max_bytes:
        raise BadBatchError(
            ErrorCode.MESSAGE_TOO_LARGE, f"a batch of {len(data)} bytes; at most {max_bytes} are accepted"
        )
    _, length, _, magic, _, _, delta, _, _, _, _, _, count = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise BadBatchError(
            ErrorCode.UNSUPPORTED_FOR_MESSAGE_FORMAT, f"message format {magic}; only {_MAGIC} is supported"
        )
    header = read_header(data)
    if _LENGTH_FROM + length != len(data):
        raise BadBatchError(ErrorCode.INVALID_RECORD, "not exactly one batch a partition")
    if count < 1 or delta != count - 1:
        raise BadBatchError(ErrorCode.INVALID_RECORD, f"{count} records with a last offset delta of {delta}")
    if header.control:
        raise BadBatchError(ErrorCode.INVALID_RECORD, "control batches are written by the broker alone")
    if header.transactional and header.producer_id < 0:
        raise BadBatchError(ErrorCode.INVALID_RECORD, "a transactional batch without a producer id")
    if header.producer_id >= 0 and header.base_sequence < 0:
        raise BadBatchError(ErrorCode.INVALID_RECORD, "an idempotent batch without a sequence number")
    return header


def placed(data: bytes, base_offset: int, leader_epoch: int) -> bytes:
    """Return a batch with its offset in the log, which its checksum does not cover."""
    start = struct.pack(">qiI", base_offset, len(data) - _LENGTH_FROM, leader_epoch)
    return b"".join((start, memoryview(data)[len(start) :]))


def transaction_marker(producer_id: int, producer_epoch: int, committed: bool) -> bytes:
    """Make the batch that ends a transaction in a partition."""
    key = struct.pack(">hh", 0, 1 if committed else 0)
    value = struct.pack(">hi", 0, 0)
    # attributes, timestamp delta, offset delta, key, value, no headers; lengths are zigzag varints.
    record = b"\0\0\0" + bytes([2 * len(key)]) + key + bytes([2 * len(value)]) + value + b"\0"
    records = bytes([2 * len(record)]) + record
    now = int(time.time() * 1000)
    checked = (
        struct.pack(">hiqqqhii", _TRANSACTIONAL | _CONTROL, 0, now, now, producer_id, producer_epoch, -1, 1)
        + records
    )
    length = _CHECKSUM_FROM - _LENGTH_FROM + len(checked)
    return struct.pack(">qiibI", 0, length, 0, _MAGIC, _crc32c(checked)) + checked


def _crc32c(data: bytes) -> int:
    # Computed bit by bit: markers have less than a hundred bytes.
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (_CRC32C_POLYNOMIAL if value & 1 else 0)
    return value ^ 0xFFFFFFFF
