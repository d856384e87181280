"""A consumer group of the classic protocol: its members and their partitions.

A group goes through these states: it has no members (empty); it waits until all members have rejoined
(joining); it waits for the leader's assignment (syncing); it reads (stable).
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from dataclasses import dataclass, field
from enum import Enum

from .group_members import GroupError, JoinedGroup, JoinRequest, Member, common_protocol
from .group_offsets import GroupOffsets
from .wire import ErrorCode

__all__ = ["Group"]

_log = logging.getLogger("prompt_processing.embedded_broker")

_MIN_SESSION_MS, _MAX_SESSION_MS = 6_000, 1_800_000
"""Limits of Apache Kafka, so that clients that work here also work there."""


class _State(Enum):
    EMPTY = "empty"
    JOINING = "joining"
    SYNCING = "syncing"
    STABLE = "stable"


@dataclass(eq=False, slots=True)
class Group:
    """One consumer group.

    Attributes
    ----------
    group_id
        Name of the group.
    offsets
        Committed offsets of the group.
    """

    group_id: str
    offsets: GroupOffsets = field(default_factory=GroupOffsets)
    _state: _State = _State.EMPTY
    _generation: int = 0
    _leader: str = ""
    _protocol: str = ""
    _members: dict[str, Member] = field(default_factory=dict)
    _promised: set[str] = field(default_factory=set)
    _deadline: asyncio.TimerHandle | None = None

    def topics(self) -> set[str]:
        """Return the topics that members have subscribed to."""
        return {topic for member in self._members.values() for topic in member.subscription}

    async def join(self, request: JoinRequest) -> JoinedGroup:
        """Join, and wait until the members are complete.

        Raises
        ------
        GroupError
            Raised if the request is refused.
        """
        is_member = request.member_id in self._members
        member = self._admit(request)
        if is_member and self._asks_again(member, request):
            return self._told(member)
        member.request = request
        if member.joining is not None:
            # The same client repeats its request; the first connection has closed.
            member.joining.cancel()
        joining = member.joining = asyncio.get_running_loop().create_future()
        self._stop_session(member)
        if self._state is not _State.JOINING:
            self._begin_joining()
        self._end_joining_if_complete()
        return await joining

    async def sync(self, member_id: str, generation: int, assignments: dict[str, bytes]) -> bytes:
        """Submit the leader's assignments, or wait for them; return the member's own.

        Raises
        ------
        GroupError
            Raised if the request is refused, or the group has changed in the meantime.
        """
        member = self._check(member_id, generation)
        if self._state is _State.JOINING:
            raise GroupError(ErrorCode.REBALANCE_IN_PROGRESS)
        if self._state is _State.SYNCING:
            if member_id != self._leader:
                syncing = member.syncing = asyncio.get_running_loop().create_future()
                self._stop_session(member)
                return await syncing
            self._assign(assignments)
        self._keep_session(member)
        return member.assignment

    def heartbeat(self, member_id: str, generation: int) -> None:
        """Note that a member is alive.

        Raises
        ------
        GroupError
            Raised if it is no longer a member, or has to join again.
        """
        member = self._check(member_id, generation)
        self._keep_session(member)
        if self._state is _State.JOINING:
            raise GroupError(ErrorCode.REBALANCE_IN_PROGRESS)

    def leave(self, member_id: str) -> None:
        """Leave the group.

        Raises
        ------
        GroupError
            Raised if it was not a member.
        """
        if member_id in self._promised:
            self._promised.discard(member_id)
            return
        self._remove(self._member(member_id))

    def check_commit(self, member_id: str, generation: int) -> None:
        """Require that a client may commit offsets: a member, or any client if there are no members.

        Raises
        ------
        GroupError
            Raised if it may not.
        """
        if generation < 0 and not member_id:
            if self._members:
                raise GroupError(ErrorCode.UNKNOWN_MEMBER_ID)
            return
        member = self._check(member_id, generation)
        if self._state is _State.SYNCING:
            raise GroupError(ErrorCode.REBALANCE_IN_PROGRESS)
        self._keep_session(member)

    def close(self) -> None:
        """Stop all timers, and end all waits."""
        for member in self._members.values():
            self._stop_session(member)
            for waiting in (member.joining, member.syncing):
                if waiting is not None:
                    waiting.cancel()
        if self._deadline is not None:
            self._deadline.cancel()

    def _admit(self, request: JoinRequest) -> Member:
        if not _MIN_SESSION_MS <= request.session_timeout_ms <= _MAX_SESSION_MS:
            raise GroupError(ErrorCode.INVALID_SESSION_TIMEOUT)
        if not request.protocols or (self._members and not self._compatible(request)):
            raise GroupError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        member_id = request.member_id
        if member_id in self._members:
            return self._members[member_id]
        if member_id:
            if member_id not in self._promised:
                raise GroupError(ErrorCode.UNKNOWN_MEMBER_ID)
            self._promised.discard(member_id)
        else:
            member_id = f"{request.instance_id or request.client_id}-{uuid.uuid4()}"
            if request.id_required and request.instance_id is None:
                self._promise(member_id, request.session_timeout_ms)
                raise GroupError(ErrorCode.MEMBER_ID_REQUIRED, member_id)
            self._replace_instance(request.instance_id)
        member = self._members[member_id] = Member(member_id, request)
        return member

    def _promise(self, member_id: str, timeout_ms: int) -> None:
        self._promised.add(member_id)
        asyncio.get_running_loop().call_later(timeout_ms / 1000, self._promised.discard, member_id)

    def _replace_instance(self, instance_id: str | None) -> None:
        for member in list(self._members.values()):
            if instance_id is not None and member.request.instance_id == instance_id:
                self._forget(member, ErrorCode.FENCED_INSTANCE_ID)

    def _compatible(self, request: JoinRequest) -> bool:
        others = [m.request for m in self._members.values() if m.member_id != request.member_id]
        same_type = all(other.protocol_type == request.protocol_type for other in others)
        return same_type and common_protocol(request, others) is not None

    def _asks_again(self, member: Member, request: JoinRequest) -> bool:
        """Return whether a member only repeats its request to join."""
        if member.request.protocols != request.protocols:
            return False
        # The leader of a stable group rejoins to have the partitions reassigned.
        return self._state is _State.SYNCING or (
            self._state is _State.STABLE and member.member_id != self._leader
        )

    def _begin_joining(self) -> None:
        self._state = _State.JOINING
        for member in self._members.values():
            if member.syncing is not None and not member.syncing.done():
                member.syncing.set_exception(GroupError(ErrorCode.REBALANCE_IN_PROGRESS))
            member.syncing = None
            member.assignment = b""
            if member.joining is None:
                self._keep_session(member)
        patience_ms = max(member.request.rebalance_timeout_ms for member in self._members.values())
        self._deadline = asyncio.get_running_loop().call_later(patience_ms / 1000, self._end_joining)

    def _end_joining_if_complete(self) -> None:
        if self._state is _State.JOINING and all(m.joining is not None for m in self._members.values()):
            self._end_joining()

    def _end_joining(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        for late in [member for member in self._members.values() if member.joining is None]:
            _log.info("Group %s continues without %s, which did not rejoin.", self.group_id, late.member_id)
            self._forget(late, ErrorCode.UNKNOWN_MEMBER_ID)
        self._generation += 1
        if not self._members:
            self._state = _State.EMPTY
            return
        self._state = _State.SYNCING
        if self._leader not in self._members:
            self._leader = next(iter(self._members))
        requests = [member.request for member in self._members.values()]
        self._protocol = common_protocol(self._members[self._leader].request, requests) or ""
        for member in self._members.values():
            if member.joining is not None and not member.joining.done():
                member.joining.set_result(self._told(member))
            member.joining = None
            self._keep_session(member)

    def _told(self, member: Member) -> JoinedGroup:
        members: tuple[tuple[str, str | None, bytes], ...] = ()
        if member.member_id == self._leader:
            members = tuple(
                (one.member_id, one.request.instance_id, dict(one.request.protocols)[self._protocol])
                for one in self._members.values()
            )
        return JoinedGroup(self._generation, self._protocol, self._leader, member.member_id, members)

    def _assign(self, assignments: dict[str, bytes]) -> None:
        self._state = _State.STABLE
        for member in self._members.values():
            member.assignment = assignments.get(member.member_id, b"")
            if member.syncing is not None and not member.syncing.done():
                member.syncing.set_result(member.assignment)
            member.syncing = None
            self._keep_session(member)

    def _member(self, member_id: str) -> Member:
        if (member := self._members.get(member_id)) is None:
            raise GroupError(ErrorCode.UNKNOWN_MEMBER_ID)
        return member

    def _check(self, member_id: str, generation: int) -> Member:
        member = self._member(member_id)
        if generation != self._generation:
            raise GroupError(ErrorCode.ILLEGAL_GENERATION)
        return member

    def _keep_session(self, member: Member) -> None:
        self._stop_session(member)
        seconds = member.request.session_timeout_ms / 1000
        member.session = asyncio.get_running_loop().call_later(seconds, self._expire, member)

    def _stop_session(self, member: Member) -> None:
        if member.session is not None:
            member.session.cancel()
            member.session = None

    def _expire(self, member: Member) -> None:
        _log.info("Group %s has not heard from %s in time.", self.group_id, member.member_id)
        self._remove(member)

    def _remove(self, member: Member) -> None:
        self._forget(member, ErrorCode.UNKNOWN_MEMBER_ID)
        if self._state in (_State.STABLE, _State.SYNCING):
            if self._members:
                self._begin_joining()
            else:
                self._generation += 1
                self._state = _State.EMPTY
        self._end_joining_if_complete()

    def _forget(self, member: Member, code: ErrorCode) -> None:
        self._stop_session(member)
        for waiting in (member.joining, member.syncing):
            if waiting is not None and not waiting.done():
                waiting.set_exception(GroupError(code))
        self._members.pop(member.member_id, None)
