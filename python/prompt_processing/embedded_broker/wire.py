"""Read and write the primitive types of the Kafka protocol.

Every message of the protocol has versions; the newer ones of each message ("flexible" versions) write lengths
as varints and end every structure with tagged fields. Readers and writers know their kind of version, so
that callers name the fields once.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from enum import IntEnum

__all__ = ["ErrorCode", "Reader", "WireError", "Writer"]

_INT8 = struct.Struct(">b")
_INT16 = struct.Struct(">h")
_INT32 = struct.Struct(">i")
_INT64 = struct.Struct(">q")
_MAX_VARINT_BYTES = 5


class WireError(ValueError):
    """Error for a message that violates the protocol; its connection is unusable."""


class ErrorCode(IntEnum):
    """Error codes of the protocol, under their official names."""

    NONE = 0
    OFFSET_OUT_OF_RANGE = 1
    UNKNOWN_TOPIC_OR_PARTITION = 3
    MESSAGE_TOO_LARGE = 10
    COORDINATOR_NOT_AVAILABLE = 15
    INVALID_TOPIC_EXCEPTION = 17
    ILLEGAL_GENERATION = 22
    INCONSISTENT_GROUP_PROTOCOL = 23
    INVALID_GROUP_ID = 24
    UNKNOWN_MEMBER_ID = 25
    INVALID_SESSION_TIMEOUT = 26
    REBALANCE_IN_PROGRESS = 27
    UNSUPPORTED_VERSION = 35
    TOPIC_ALREADY_EXISTS = 36
    INVALID_PARTITIONS = 37
    INVALID_REPLICATION_FACTOR = 38
    UNSUPPORTED_FOR_MESSAGE_FORMAT = 43
    POLICY_VIOLATION = 44
    OUT_OF_ORDER_SEQUENCE_NUMBER = 45
    INVALID_PRODUCER_EPOCH = 47
    INVALID_TXN_STATE = 48
    INVALID_PRODUCER_ID_MAPPING = 49
    INVALID_TRANSACTION_TIMEOUT = 50
    OPERATION_NOT_ATTEMPTED = 55
    KAFKA_STORAGE_ERROR = 56
    MEMBER_ID_REQUIRED = 79
    FENCED_INSTANCE_ID = 82
    INVALID_RECORD = 87
    UNSTABLE_OFFSET_COMMIT = 88
    PRODUCER_FENCED = 90


class Reader:
    """Reader of the fields of a request, in order.

    Parameters
    ----------
    data
        The request after its length.
    start
        Position of the first field.
    flexible
        Whether the request's version is a flexible one.

    Attributes
    ----------
    client_id
        Name that the client sent.
    """

    def __init__(self, data: bytes, flexible: bool = False, start: int = 0) -> None:
        self._data = memoryview(data)
        self._position = start
        self.flexible = flexible
        self.client_id = ""

    def int8(self) -> int:
        """Read one signed byte."""
        return self._unpack(_INT8)

    def boolean(self) -> bool:
        """Read a Boolean."""
        return self._unpack(_INT8) != 0

    def int16(self) -> int:
        """Read a signed number of 2 bytes."""
        return self._unpack(_INT16)

    def int32(self) -> int:
        """Read a signed number of 4 bytes."""
        return self._unpack(_INT32)

    def int64(self) -> int:
        """Read a signed number of 8 bytes."""
        return self._unpack(_INT64)

    def unsigned_varint(self) -> int:
        """Read an unsigned number of at most 5 bytes, the low 7 bits first."""
        value = 0
        for shift in range(0, 7 * _MAX_VARINT_BYTES, 7):
            byte = self._take(1)[0]
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return value
        raise WireError("a variable-length number has more than 5 bytes")

    def string(self) -> str:
        """Read a string that may not be null."""
        if (text := self.nullable_string()) is None:
            raise WireError("a required string is null")
        return text

    def nullable_string(self) -> str | None:
        """Read a string or null."""
        length = self.unsigned_varint() - 1 if self.flexible else self.int16()
        if length < 0:
            return None
        try:
            return bytes(self._take(length)).decode()
        except UnicodeDecodeError as error:
            raise WireError("a string is not UTF-8") from error

    def nullable_bytes(self) -> bytes | None:
        """Read bytes or null."""
        length = self.unsigned_varint() - 1 if self.flexible else self.int32()
        return None if length < 0 else bytes(self._take(length))

    def array[T](self, read: Callable[[], T]) -> list[T]:
        """Read an array, empty where it is null, with a function that reads an element."""
        return self.nullable_array(read) or []

    def nullable_array[T](self, read: Callable[[], T]) -> list[T] | None:
        """Read an array or null, with a function that reads an element."""
        length = self.unsigned_varint() - 1 if self.flexible else self.int32()
        if length < 0:
            return None
        # Every element has at least one byte: a wrong length must not allocate memory.
        if length > len(self._data) - self._position:
            raise WireError("an array is longer than its message")
        return [read() for _ in range(length)]

    def tags(self) -> None:
        """Skip the tagged fields at the end of a structure, if this version has them."""
        if self.flexible:
            for _ in range(self.unsigned_varint()):
                self.unsigned_varint()
                self._take(self.unsigned_varint())

    def _unpack(self, kind: struct.Struct) -> int:
        value: int = kind.unpack(self._take(kind.size))[0]
        return value

    def _take(self, length: int) -> memoryview:
        end = self._position + length
        if end > len(self._data):
            raise WireError("a message ends before its last field")
        taken = self._data[self._position : end]
        self._position = end
        return taken


class Writer:
    """Writer of the fields of a response, in order.

    Parameters
    ----------
    flexible
        Whether the response's version is a flexible one.
    """

    def __init__(self, flexible: bool = False) -> None:
        self._parts: list[bytes] = []
        self.flexible = flexible

    @property
    def parts(self) -> list[bytes]:
        """The bytes written so far."""
        return self._parts

    def int8(self, value: int) -> None:
        """Write one signed byte."""
        self._parts.append(_INT8.pack(value))

    def boolean(self, value: bool) -> None:
        """Write a Boolean."""
        self._parts.append(_INT8.pack(value))

    def int16(self, value: int) -> None:
        """Write a signed number of 2 bytes."""
        self._parts.append(_INT16.pack(value))

    def int32(self, value: int) -> None:
        """Write a signed number of 4 bytes."""
        self._parts.append(_INT32.pack(value))

    def int64(self, value: int) -> None:
        """Write a signed number of 8 bytes."""
        self._parts.append(_INT64.pack(value))

    def unsigned_varint(self, value: int) -> None:
        """Write an unsigned number, the low 7 bits first."""
        encoded = bytearray()
        while value > 0x7F:
            encoded.append(value & 0x7F | 0x80)
            value >>= 7
        encoded.append(value)
        self._parts.append(bytes(encoded))

    def string(self, value: str | None) -> None:
        """Write a string or null."""
        encoded = None if value is None else value.encode()
        length = -1 if encoded is None else len(encoded)
        if self.flexible:
            self.unsigned_varint(length + 1)
        else:
            self.int16(length)
        if encoded:
            self._parts.append(encoded)

    def bytes(self, value: bytes | None) -> None:
        """Write bytes or null."""
        length = -1 if value is None else len(value)
        if self.flexible:
            self.unsigned_varint(length + 1)
        else:
            self.int32(length)
        if value:
            self._parts.append(value)

    def array[T](self, values: Iterable[T], write: Callable[[T], None]) -> None:
        """Write an array with a function that writes an element."""
        elements = list(values)
        if self.flexible:
            self.unsigned_varint(len(elements) + 1)
        else:
            self.int32(len(elements))
        for element in elements:
            write(element)

    def tags(self) -> None:
        """Write an empty set of tagged fields, if this version has them."""
        if self.flexible:
            self._parts.append(b"\0")
