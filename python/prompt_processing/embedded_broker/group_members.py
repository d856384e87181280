"""Requests of members of a consumer group, and their responses."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from .wire import ErrorCode, Reader, WireError

__all__ = ["GroupError", "JoinRequest", "JoinedGroup", "Member", "common_protocol"]


class GroupError(Exception):
    """Error for a member's request that is refused."""

    def __init__(self, code: ErrorCode, member_id: str = "") -> None:
        super().__init__(code.name)
        self.code = code
        self.member_id = member_id


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """A member's request to join; times in milliseconds.

    Attributes
    ----------
    member_id
        Empty for a new member.
    id_required
        Whether a new member first gets an id and has to join again with it.
    protocols
        Names of assignment protocols in order of preference, each with this member's metadata for the
        leader.
    """

    client_id: str
    member_id: str
    instance_id: str | None
    id_required: bool
    session_timeout_ms: int
    rebalance_timeout_ms: int
    protocol_type: str
    protocols: tuple[tuple[str, bytes], ...]


@dataclass(eq=False, slots=True)
class Member:
    """A member of a group; its session does not expire while it waits for an answer."""

    member_id: str
    request: JoinRequest
    assignment: bytes = b""
    joining: asyncio.Future[JoinedGroup] | None = None
    syncing: asyncio.Future[bytes] | None = None
    session: asyncio.TimerHandle | None = None

    @property
    def subscription(self) -> frozenset[str]:
        """Topics to which the member subscribes, as far as its metadata can be parsed."""
        try:
            reader = Reader(self.request.protocols[0][1])
            reader.int16()
            return frozenset(reader.array(reader.string))
        except (WireError, IndexError):
            return frozenset()


@dataclass(frozen=True, slots=True)
class JoinedGroup:
    """Response to a member once all have joined; only the leader receives the list of members."""

    generation: int
    protocol: str
    leader: str
    member_id: str
    members: tuple[tuple[str, str | None, bytes], ...] = ()


def common_protocol(preferring: JoinRequest, others: Sequence[JoinRequest]) -> str | None:
    """Return the protocol that a member prefers among those that all support; `None` if none is common."""
    known = [{name for name, _ in other.protocols} for other in others]
    return next((name for name, _ in preferring.protocols if all(name in names for names in known)), None)
