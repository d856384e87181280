"""The types of the protocol."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prompt_processing.embedded_broker.wire import Reader, WireError, Writer


@given(
    st.booleans(),
    st.none() | st.text(max_size=300),
    st.none() | st.binary(max_size=300),
    st.lists(st.integers(-(2**31), 2**31 - 1), max_size=200),
    st.integers(-(2**63), 2**63 - 1),
)
def test_what_is_written_is_read(
    flexible: bool, text: str | None, data: bytes | None, numbers: list[int], long: int
) -> None:
    writer = Writer(flexible)
    writer.string(text)
    writer.bytes(data)
    writer.array(numbers, writer.int32)
    writer.tags()
    writer.int64(long)
    reader = Reader(b"".join(writer.parts), flexible)
    assert reader.nullable_string() == text
    assert reader.nullable_bytes() == data
    assert reader.array(reader.int32) == numbers
    reader.tags()
    assert reader.int64() == long


@pytest.mark.parametrize("flexible", [False, True])
@given(data=st.binary(max_size=60))
def test_rubbish_is_read_or_refused(flexible: bool, data: bytes) -> None:
    reader = Reader(data, flexible)
    with contextlib.suppress(WireError):
        reader.array(lambda: (reader.string(), reader.nullable_bytes(), reader.tags()))


def test_array_with_a_wrong_length_costs_no_memory() -> None:
    reader = Reader(struct.pack(">i", 2**31 - 1) + bytes(100))
    with pytest.raises(WireError, match="longer than its message"):
        reader.array(lambda: None)


def test_tagged_fields_are_skipped() -> None:
    reader = Reader(b"\x01\x07\x03abc" + struct.pack(">h", 5), flexible=True)
    reader.tags()
    assert reader.int16() == 5
