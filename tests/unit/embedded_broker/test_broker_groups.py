"""Consumer groups: joining, leaving, dying, and what is committed meanwhile."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from prompt_processing.embedded_broker import consumer_group
from prompt_processing.embedded_broker.consumer_group import Group
from prompt_processing.embedded_broker.group_members import GroupError, JoinedGroup, JoinRequest
from prompt_processing.embedded_broker.group_offsets import CommittedOffset
from prompt_processing.embedded_broker.groups import Groups
from prompt_processing.embedded_broker.wire import ErrorCode

SHORT_MS = 60


@pytest.fixture(autouse=True)
def _sessions_may_be_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer_group, "_MIN_SESSION_MS", 1)


def request(
    member_id: str = "",
    *,
    id_required: bool = False,
    session_ms: int = 30_000,
    rebalance_ms: int = 30_000,
    protocols: tuple[str, ...] = ("range",),
    topic: str = "alerts",
) -> JoinRequest:
    subscription = struct.pack(">hih", 0, 1, len(topic)) + topic.encode() + struct.pack(">i", 0)
    return JoinRequest(
        client_id="client",
        member_id=member_id,
        instance_id=None,
        id_required=id_required,
        session_timeout_ms=session_ms,
        rebalance_timeout_ms=rebalance_ms,
        protocol_type="consumer",
        protocols=tuple((name, subscription) for name in protocols),
    )


def run(story: Callable[[Group], Coroutine[Any, Any, None]]) -> None:
    async def tell() -> None:
        group = Group("readers")
        try:
            async with asyncio.timeout(20):
                await story(group)
        finally:
            group.close()

    asyncio.run(tell())


async def refused(attempt: Awaitable[object]) -> ErrorCode:
    with pytest.raises(GroupError) as raised:
        await attempt
    return raised.value.code


async def form(group: Group, **options: Any) -> tuple[JoinedGroup, JoinedGroup]:
    """Make a stable group of two."""
    first = await group.join(request(**options))
    second = asyncio.ensure_future(group.join(request(**options)))
    await asyncio.sleep(0)
    first = await group.join(request(first.member_id, **options))
    joined = await second
    shares = {first.member_id: b"1", joined.member_id: b"2"}
    waiting = asyncio.ensure_future(group.sync(joined.member_id, joined.generation, {}))
    await asyncio.sleep(0)
    assert await group.sync(first.member_id, first.generation, shares) == b"1"
    assert await waiting == b"2"
    return first, joined


def test_leader_learns_of_all_members_and_each_gets_its_share() -> None:
    async def story(group: Group) -> None:
        first, second = await form(group)
        assert first.leader == second.leader == first.member_id
        assert {member for member, _, _ in first.members} == {first.member_id, second.member_id}
        assert second.members == ()
        group.heartbeat(first.member_id, first.generation)

    run(story)


def test_new_member_gets_its_id_first() -> None:
    async def story(group: Group) -> None:
        with pytest.raises(GroupError) as raised:
            await group.join(request(id_required=True))
        assert raised.value.code is ErrorCode.MEMBER_ID_REQUIRED
        joined = await group.join(request(raised.value.member_id, id_required=True))
        assert joined.member_id == joined.leader == raised.value.member_id
        assert await refused(group.join(request("invented", id_required=True))) is ErrorCode.UNKNOWN_MEMBER_ID

    run(story)


def test_members_join_anew_when_one_leaves() -> None:
    async def story(group: Group) -> None:
        first, second = await form(group)
        group.leave(second.member_id)
        with pytest.raises(GroupError, match="REBALANCE_IN_PROGRESS"):
            group.heartbeat(first.member_id, first.generation)
        joined = await group.join(request(first.member_id))
        assert joined.generation == first.generation + 1
        assert await group.sync(first.member_id, joined.generation, {first.member_id: b"all"}) == b"all"
        with pytest.raises(GroupError, match="ILLEGAL_GENERATION"):
            group.heartbeat(first.member_id, first.generation)
        with pytest.raises(GroupError, match="UNKNOWN_MEMBER_ID"):
            group.heartbeat(second.member_id, joined.generation)

    run(story)


def test_silent_member_is_dropped() -> None:
    async def story(group: Group) -> None:
        silent = await group.join(request(session_ms=SHORT_MS))
        await group.sync(silent.member_id, silent.generation, {})
        await asyncio.sleep(3 * SHORT_MS / 1000)
        with pytest.raises(GroupError, match="UNKNOWN_MEMBER_ID"):
            group.heartbeat(silent.member_id, silent.generation)
        assert group.topics() == set()

    run(story)


def test_group_goes_on_without_a_member_that_does_not_join_again() -> None:
    async def story(group: Group) -> None:
        first, second = await form(group, rebalance_ms=SHORT_MS)
        newcomer = asyncio.ensure_future(group.join(request(rebalance_ms=SHORT_MS)))
        await asyncio.sleep(0)
        again = await group.join(request(first.member_id, rebalance_ms=SHORT_MS))
        assert {member for member, _, _ in again.members} == {first.member_id, (await newcomer).member_id}
        assert (
            await refused(group.join(request(second.member_id, rebalance_ms=SHORT_MS)))
            is ErrorCode.UNKNOWN_MEMBER_ID
        )

    run(story)


def test_member_that_waits_for_the_leader_is_told_when_the_group_changes() -> None:
    async def story(group: Group) -> None:
        first = await group.join(request())
        second = asyncio.ensure_future(group.join(request()))
        await asyncio.sleep(0)
        first = await group.join(request(first.member_id))
        joined = await second
        waiting = asyncio.ensure_future(group.sync(joined.member_id, joined.generation, {}))
        await asyncio.sleep(0)
        group.leave(first.member_id)
        assert await refused(waiting) is ErrorCode.REBALANCE_IN_PROGRESS
        assert (await group.join(request(joined.member_id))).leader == joined.member_id

    run(story)


def test_members_have_to_agree_on_a_protocol() -> None:
    async def story(group: Group) -> None:
        first = await group.join(request(protocols=("roundrobin", "range")))
        assert first.protocol == "roundrobin"
        refusal = refused(group.join(request(protocols=("sticky",))))
        assert await refusal is ErrorCode.INCONSISTENT_GROUP_PROTOCOL
        second = asyncio.ensure_future(group.join(request(protocols=("range",))))
        await asyncio.sleep(0)
        again = await group.join(request(first.member_id, protocols=("roundrobin", "range")))
        assert again.protocol == (await second).protocol == "range"

    run(story)


def test_only_members_commit_while_there_are_any() -> None:
    async def story(group: Group) -> None:
        group.check_commit("", -1)
        first, _ = await form(group)
        group.check_commit(first.member_id, first.generation)
        for member_id, generation, code in (
            ("", -1, "UNKNOWN_MEMBER_ID"),
            ("stranger", 1, "UNKNOWN_MEMBER_ID"),
            (first.member_id, first.generation - 1, "ILLEGAL_GENERATION"),
        ):
            with pytest.raises(GroupError, match=code):
                group.check_commit(member_id, generation)

    run(story)


def test_session_timeouts_are_those_of_apache_kafka(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()

    async def story(group: Group) -> None:
        for session_ms in (5_999, 1_800_001):
            refusal = refused(group.join(request(session_ms=session_ms)))
            assert await refusal is ErrorCode.INVALID_SESSION_TIMEOUT

    run(story)


def test_topic_is_read_as_far_as_its_slowest_group() -> None:
    async def story(_: Group) -> None:
        groups = Groups()
        assert groups.read_floor("alerts", 0).offset is None
        for name, offset in (("fast", 9), ("slow", 4)):
            groups.get_or_make(name).offsets.commit({("alerts", 0): CommittedOffset(offset)})
        floor = groups.read_floor("alerts", 0)
        assert (floor.offset, floor.reader) == (4, "slow")
        # Whoever has subscribed, and committed nothing yet, has read nothing.
        await groups.get_or_make("new").join(request())
        floor = groups.read_floor("alerts", 0)
        assert (floor.offset, floor.reader) == (0, "new")
        assert groups.read_floor("others", 0).offset is None
        groups.close()

    run(story)


def test_offsets_of_a_transaction_count_when_it_is_committed() -> None:
    offsets = Group("readers").offsets
    place = ("alerts", 0)
    for producer_id, committed, expected in ((1, False, None), (2, True, CommittedOffset(2))):
        offsets.commit_in_transaction(producer_id, {place: CommittedOffset(producer_id)})
        assert offsets.unstable(place)
        offsets.end_transaction(producer_id, committed)
        assert not offsets.unstable(place)
        assert offsets.get(place) == expected
