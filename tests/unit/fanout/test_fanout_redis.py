"""How the fan-out treats a Redis server that closes its connections."""

from __future__ import annotations

import asyncio

from fan_out_processes import announcement

from prompt_processing.fanout.destinations import RedisConnections, RedisStreams
from prompt_processing.fanout.metrics import FanOutMetrics


def connections_for_one_visit(retries: int) -> int:
    n_connections = 0

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal n_connections
        n_connections += 1
        writer.close()

    async def send() -> None:
        server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        connections = RedisConnections(retries=retries, initial_delay_s=0.0, delay_cap_s=0.0)
        # Stale at once, so that the visit itself is tried once.
        streams = RedisStreams({"LSSTCam": "s"}, f"127.0.0.1:{port}", 0.0, FanOutMetrics(), connections)
        assert await streams.send(announcement("a").for_detector(1)) == "unreachable"
        await streams.close()
        server.close()

    asyncio.run(send())
    return n_connections


def test_command_is_repeated_as_often_as_configured() -> None:
    never, twice = connections_for_one_visit(0), connections_for_one_visit(2)
    assert never == 1
    assert twice >= 3
