"""Requests of consumer groups: FindCoordinator, JoinGroup, SyncGroup, Heartbeat, LeaveGroup, offsets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import groupby

from .group_members import GroupError, JoinedGroup, JoinRequest
from .group_offsets import CommittedOffset, Place
from .groups import Groups
from .topic_requests import NODE_ID, Address
from .topics import Topics
from .transactions import TransactionError, Transactions
from .wire import ErrorCode, Reader, Writer

__all__ = ["GroupRequests"]


class GroupRequests:
    """Handler of consumer groups' requests.

    Parameters
    ----------
    address
        Address of the broker for clients.
    topics, groups, transactions
        State of the broker.
    """

    def __init__(self, address: Address, topics: Topics, groups: Groups, transactions: Transactions) -> None:
        self._address = address
        self._topics = topics
        self._groups = groups
        self._transactions = transactions

    async def find_coordinator(self, request: Reader, version: int, answer: Writer) -> None:
        """Name this broker as coordinator of a group or a transactional id."""
        if version >= 1:
            answer.int32(0)
        answer.int16(ErrorCode.NONE)
        if version >= 1:
            answer.string(None)
        answer.int32(NODE_ID)
        answer.string(self._address.host)
        answer.int32(self._address.port)

    async def join(self, request: Reader, version: int, answer: Writer) -> None:
        """Let a member join; the answer waits for the others."""
        group_id, session_ms = request.string(), request.int32()
        rebalance_ms = request.int32() if version >= 1 else session_ms
        member_id = request.string()
        instance_id = request.nullable_string() if version >= 5 else None
        protocol_type = request.string()
        protocols = request.array(lambda: (request.string(), request.nullable_bytes() or b""))
        joining = JoinRequest(
            client_id=request.client_id,
            member_id=member_id,
            instance_id=instance_id,
            id_required=version >= 4,
            session_timeout_ms=session_ms,
            rebalance_timeout_ms=rebalance_ms,
            protocol_type=protocol_type,
            protocols=tuple(protocols),
        )
        error, joined = ErrorCode.NONE, JoinedGroup(-1, "", "", member_id)
        try:
            if not group_id:
                raise GroupError(ErrorCode.INVALID_GROUP_ID)
            joined = await self._groups.get_or_make(group_id).join(joining)
        except GroupError as refused:
            error = refused.code
            joined = JoinedGroup(-1, "", "", refused.member_id or member_id)
        if version >= 2:
            answer.int32(0)
        answer.int16(error)
        answer.int32(joined.generation)
        answer.string(joined.protocol)
        answer.string(joined.leader)
        answer.string(joined.member_id)

        def write_member(member: tuple[str, str | None, bytes]) -> None:
            answer.string(member[0])
            if version >= 5:
                answer.string(member[1])
            answer.bytes(member[2])

        answer.array(joined.members, write_member)

    async def sync(self, request: Reader, version: int, answer: Writer) -> None:
        """Send a member its assignment; the answer waits for the leader's decision."""
        group_id, generation, member_id = request.string(), request.int32(), request.string()
        if version >= 3:
            request.nullable_string()
        assignments = request.array(lambda: (request.string(), request.nullable_bytes() or b""))
        error, assignment = ErrorCode.NONE, b""
        try:
            group = self._groups.get_or_make(group_id)
            assignment = await group.sync(member_id, generation, dict(assignments))
        except GroupError as refused:
            error = refused.code
        if version >= 1:
            answer.int32(0)
        answer.int16(error)
        answer.bytes(assignment)

    async def heartbeat(self, request: Reader, version: int, answer: Writer) -> None:
        """Note that a member is alive."""
        group_id, generation, member_id = request.string(), request.int32(), request.string()
        group = self._groups.get_or_make(group_id)
        error = _error_of(partial(group.heartbeat, member_id, generation))
        if version >= 1:
            answer.int32(0)
        answer.int16(error)

    async def leave(self, request: Reader, version: int, answer: Writer) -> None:
        """Let a member leave."""
        group_id, member_id = request.string(), request.string()
        error = _error_of(partial(self._groups.get_or_make(group_id).leave, member_id))
        if version >= 1:
            answer.int32(0)
        answer.int16(error)

    async def commit_offsets(self, request: Reader, version: int, answer: Writer) -> None:
        """Commit offsets of a group."""
        group_id, generation, member_id = request.string(), request.int32(), request.string()
        if version >= 7:
            request.nullable_string()
        if version <= 4:
            request.int64()
        offsets = _read_offsets(request, has_leader_epoch=version >= 6)
        group = self._groups.get_or_make(group_id)
        error = _error_of(partial(group.check_commit, member_id, generation))
        known = self._known(offsets)
        if error is ErrorCode.NONE:
            group.offsets.commit(known)
        if version >= 3:
            answer.int32(0)
        _write_commit_errors(offsets, known, error, answer)

    async def commit_offsets_in_transaction(self, request: Reader, version: int, answer: Writer) -> None:
        """Commit offsets of a group if the producer's transaction is committed."""
        name, group_id = request.string(), request.string()
        producer_id, epoch = request.int64(), request.int16()
        generation, member_id = -1, ""
        if version >= 3:
            generation, member_id = request.int32(), request.string()
            request.nullable_string()
        offsets = _read_offsets(request, has_leader_epoch=version >= 2)
        group = self._groups.get_or_make(group_id)
        known = self._known(offsets)
        error = ErrorCode.NONE
        try:
            self._transactions.check_offsets(name, producer_id, epoch, group_id)
            if generation >= 0 or member_id:
                group.check_commit(member_id, generation)
            group.offsets.commit_in_transaction(producer_id, known)
        except GroupError as refused:
            error = refused.code
        except TransactionError as refused:
            fenced = refused.code is ErrorCode.PRODUCER_FENCED
            error = ErrorCode.INVALID_PRODUCER_EPOCH if fenced else refused.code
        answer.int32(0)
        _write_commit_errors(offsets, known, error, answer)
        answer.tags()

    async def fetch_offsets(self, request: Reader, version: int, answer: Writer) -> None:
        """Return the committed offsets of a group."""
        group_id = request.string()

        def read_topic() -> list[Place]:
            topic = request.string()
            places = [(topic, number) for number in request.array(request.int32)]
            request.tags()
            return places

        topics = request.nullable_array(read_topic)
        stable_only = version >= 7 and request.boolean()
        group = self._groups.get(group_id)
        if topics is not None:
            places = [place for topic in topics for place in topic]
        else:
            places = group.offsets.places() if group is not None else []

        def write(place: Place) -> None:
            offset, error = CommittedOffset(-1), ErrorCode.NONE
            if group is not None:
                offset = group.offsets.get(place) or offset
                if stable_only and group.offsets.unstable(place):
                    offset, error = CommittedOffset(-1), ErrorCode.UNSTABLE_OFFSET_COMMIT
            answer.int64(offset.offset)
            if version >= 5:
                answer.int32(offset.leader_epoch)
            answer.string(offset.metadata)
            answer.int16(error)

        if version >= 3:
            answer.int32(0)
        _write_by_topic(places, write, answer)
        if version >= 2:
            answer.int16(ErrorCode.NONE)
        answer.tags()

    def _known(self, offsets: dict[Place, CommittedOffset]) -> dict[Place, CommittedOffset]:
        return {place: offset for place, offset in offsets.items() if self._topics.find(*place) is not None}


def _error_of(attempt: Callable[[], None]) -> ErrorCode:
    try:
        attempt()
    except GroupError as refused:
        return refused.code
    return ErrorCode.NONE


def _read_offsets(request: Reader, has_leader_epoch: bool) -> dict[Place, CommittedOffset]:
    def read_partition() -> tuple[int, CommittedOffset]:
        number, offset = request.int32(), request.int64()
        leader_epoch = request.int32() if has_leader_epoch else -1
        committed = CommittedOffset(offset, leader_epoch, request.nullable_string() or "")
        request.tags()
        return number, committed

    def read_topic() -> list[tuple[Place, CommittedOffset]]:
        topic = request.string()
        partitions = request.array(read_partition)
        request.tags()
        return [((topic, number), offset) for number, offset in partitions]

    return {place: offset for topic in request.array(read_topic) for place, offset in topic}


def _write_commit_errors(
    offsets: Iterable[Place], known: dict[Place, CommittedOffset], error: ErrorCode, answer: Writer
) -> None:
    def write(place: Place) -> None:
        answer.int16(error or (ErrorCode.NONE if place in known else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION))

    _write_by_topic(offsets, write, answer)


def _write_by_topic(places: Iterable[Place], write: Callable[[Place], None], answer: Writer) -> None:
    """Write an array of topics with an array of partitions each; ``write`` adds their other fields."""

    def write_partition(place: Place) -> None:
        answer.int32(place[1])
        write(place)
        answer.tags()

    def write_topic(topic: tuple[str, list[Place]]) -> None:
        answer.string(topic[0])
        answer.array(topic[1], write_partition)
        answer.tags()

    grouped = groupby(sorted(places), key=lambda place: place[0])
    answer.array([(topic, list(found)) for topic, found in grouped], write_topic)
