"""What a partition keeps, and what it accepts."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from prompt_processing.embedded_broker.partitions import Floor, Partition, PartitionFullError
from prompt_processing.embedded_broker.record_batches import (
    BadBatchError,
    BatchHeader,
    check_produced,
    read_header,
    transaction_marker,
)
from prompt_processing.embedded_broker.segments import SegmentedLog
from prompt_processing.embedded_broker.topics import TopicRefusedError, Topics
from prompt_processing.embedded_broker.wire import ErrorCode

TRANSACTIONAL, CONTROL = 0x10, 0x20


def batch(
    n_records: int = 1,
    payload: bytes = b"x" * 100,
    *,
    producer: int = -1,
    epoch: int = -1,
    sequence: int = -1,
    attributes: int = 0,
    magic: int = 2,
) -> bytes:
    checked = struct.pack(">hiqqqhii", attributes, n_records - 1, 0, 7, producer, epoch, sequence, n_records)
    return struct.pack(">qiibI", 0, 9 + len(checked) + len(payload), -1, magic, 0) + checked + payload


def parsed(data: bytes) -> BatchHeader:
    return check_produced(data, 10**6)


@pytest.fixture
def make_partition(tmp_path: Path) -> Callable[..., Partition]:
    def make(max_bytes: int = 10**6, floor: Callable[[], Floor] = lambda: Floor(None)) -> Partition:
        return Partition("alerts", 0, tmp_path / "alerts-0", max_bytes, floor)

    return make


def append(partition: Partition, data: bytes) -> int:
    return partition.append(data, parsed(data))


def test_each_offset_is_found_in_logs_of_batches_of_any_size(tmp_path: Path) -> None:
    log = SegmentedLog(tmp_path / "log", 20_000)
    ends: list[int] = []
    for number in range(300):
        data = batch(1 + number % 7, b"x" * (number * 7919 % 5000))
        log.append(data, parsed(data))
        ends.append(log.end_offset)
    for offset in range(log.end_offset):
        for max_bytes in (1, 6000):
            data = log.read(offset, max_bytes, log.end_offset, at_least_one=True)
            first = read_header(data)
            assert first.base_offset <= offset < first.next_offset
            assert max_bytes >= len(data) or len(data) == first.size
            assert first.next_offset in ends


def test_batch_over_the_limit_is_left_for_the_next_request(tmp_path: Path) -> None:
    log = SegmentedLog(tmp_path / "log", 10**6)
    for payload in (b"x" * 100, b"y" * 10_000):
        log.append(batch(1, payload), parsed(batch(1, payload)))
    assert read_header(log.read(0, 500, 2, at_least_one=False)).next_offset == 1
    assert log.read(1, 500, 2, at_least_one=False) == b""
    assert len(log.read(1, 500, 2, at_least_one=True)) > 10_000


def test_full_disk_leaves_the_log_as_it_was(
    make_partition: Callable[..., Partition], monkeypatch: pytest.MonkeyPatch
) -> None:
    partition = make_partition()
    append(partition, batch(1))
    write = os.pwrite

    def write_half(file: int, data: memoryview, position: int) -> int:
        if len(data) <= 100:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data[:100], position)

    with monkeypatch.context() as full_disk:
        full_disk.setattr(os, "pwrite", write_half)
        with pytest.raises(OSError, match="No space"):
            append(partition, batch(1))
    append(partition, batch(2))
    found = partition.read(1, 10**6, committed_only=False, at_least_one=True)
    assert (read_header(found).base_offset, len(found)) == (1, len(batch(2)))


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (None, ErrorCode.INVALID_RECORD),
        (b"", ErrorCode.INVALID_RECORD),
        (batch()[:-1], ErrorCode.INVALID_RECORD),
        (batch() + batch(), ErrorCode.INVALID_RECORD),
        (batch(0), ErrorCode.INVALID_RECORD),
        (batch(payload=b"x" * 10**6), ErrorCode.MESSAGE_TOO_LARGE),
        (batch(magic=1), ErrorCode.UNSUPPORTED_FOR_MESSAGE_FORMAT),
        (batch(attributes=CONTROL), ErrorCode.INVALID_RECORD),
        (batch(attributes=TRANSACTIONAL), ErrorCode.INVALID_RECORD),
        (batch(producer=1, epoch=0), ErrorCode.INVALID_RECORD),
    ],
)
def test_what_is_no_batch_is_refused(data: bytes | None, code: ErrorCode) -> None:
    with pytest.raises(BadBatchError) as raised:
        check_produced(data, 10**6)
    assert raised.value.code is code


def test_batch_that_is_sent_twice_is_stored_once(make_partition: Callable[..., Partition]) -> None:
    partition = make_partition()
    batches = [batch(2, producer=5, epoch=0, sequence=2 * n) for n in range(3)]
    offsets = [append(partition, data) for data in batches]
    assert [append(partition, data) for data in batches] == offsets == [0, 2, 4]
    assert partition.end_offset == 6


def test_batch_out_of_order_is_refused(make_partition: Callable[..., Partition]) -> None:
    partition = make_partition()
    append(partition, batch(producer=5, epoch=0, sequence=0))
    with pytest.raises(BadBatchError) as raised:
        append(partition, batch(producer=5, epoch=0, sequence=2))
    assert raised.value.code is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER


def test_sequence_numbers_begin_again_after_the_largest(make_partition: Callable[..., Partition]) -> None:
    partition = make_partition()
    append(partition, batch(2, producer=5, epoch=0, sequence=2**31 - 2))
    append(partition, batch(1, producer=5, epoch=0, sequence=0))
    assert partition.end_offset == 3


def test_refused_batch_keeps_its_place_before_those_under_way(
    make_partition: Callable[..., Partition],
) -> None:
    floor = Floor(0, "readers")
    partition = make_partition(1000, lambda: floor)
    for _ in range(6):
        append(partition, batch())
    first, second = (batch(producer=5, epoch=0, sequence=sequence) for sequence in (0, 1))
    with pytest.raises(PartitionFullError):
        append(partition, first)
    floor = Floor(6, "readers")
    with pytest.raises(BadBatchError) as raised:
        append(partition, second)
    assert raised.value.code is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert [append(partition, data) for data in (first, second)] == [6, 7]


def test_only_what_all_groups_have_read_makes_room(make_partition: Callable[..., Partition]) -> None:
    floor = Floor(None)
    partition = make_partition(1000, lambda: floor)
    for _ in range(6):
        append(partition, batch())
    with pytest.raises(PartitionFullError, match="no consumer group"):
        append(partition, batch())
    floor = Floor(0, "readers")
    with pytest.raises(PartitionFullError, match="group readers has read up to offset 0 of 6"):
        append(partition, batch())
    assert partition.start_offset == 0
    floor = Floor(4, "readers")
    append(partition, batch())
    assert 0 < partition.start_offset <= 4


def test_open_transaction_is_kept_even_if_it_was_read(make_partition: Callable[..., Partition]) -> None:
    partition = make_partition(1000, lambda: Floor(100, "readers"))
    append(partition, batch(producer=5, epoch=0, sequence=0, attributes=TRANSACTIONAL))
    for _ in range(5):
        append(partition, batch())
    with pytest.raises(PartitionFullError):
        append(partition, batch())
    assert partition.last_stable_offset == partition.start_offset == 0


def test_marker_has_the_checksum_that_clients_verify() -> None:
    marker = transaction_marker(1, 0, committed=True)
    header = read_header(marker)
    assert header.size == len(marker)
    assert header.control
    assert header.transactional
    # The residue of a message with its own CRC-32C, whatever the message.
    (checksum,) = struct.unpack_from(">I", marker, 17)
    register = 0xFFFFFFFF
    for byte in marker[21:] + struct.pack("<I", checksum):
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    assert register == 0xB798B438


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../up", "a b", "x" * 250])
def test_topic_names_that_could_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    topics = Topics(tmp_path, 10**6, lambda topic, number: Floor(None))
    with pytest.raises(TopicRefusedError) as raised:
        topics.create(name)
    assert raised.value.code is ErrorCode.INVALID_TOPIC_EXCEPTION
    assert list(tmp_path.iterdir()) == []


def test_topics_are_limited_in_number(tmp_path: Path) -> None:
    topics = Topics(tmp_path, 10**6, lambda topic, number: Floor(None))
    with pytest.raises(TopicRefusedError, match="partitions"):
        topics.create("many", 1001)
    assert topics.names() == []
