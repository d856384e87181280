"""Seconds from an announcement to the last request on the wire, over both platforms."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from prompt_processing.demo.processes import Process, Processes
from prompt_processing.services.kafka import Kafka
from prompt_processing.services.redis_server import RedisServer
from prompt_processing.tester.publish import Announcer, make_next_visit
from prompt_processing.transport.kafka import make_producer

from .content import FIELDS, FILTER, INSTRUMENT
from .figures import Figure, Measured, percentile, wait_for
from .world import WORKERS, World

_TARGET_S = 0.5
WARM_UP, WARM_UP_DETECTORS = 999, 4
"""Script queue whose visits are for a few detectors only."""

N_DETECTORS = 189
"""Science detectors; the corner rafts' are not sent on."""


def fan_out_settings(
    world: World, platform: str, topic: str, url: str, stream: str, detectors: Sequence[int]
) -> dict[str, str]:
    """Settings of a fan-out."""
    configuration = world.folder / f"{topic}.yaml"
    configuration.write_text(
        yaml.safe_dump(
            {
                "detectors": {
                    INSTRUMENT: dict.fromkeys(detectors, True),
                    f"{INSTRUMENT}-TEST-{WARM_UP}": dict.fromkeys(detectors[:WARM_UP_DETECTORS], True),
                },
                "knative-urls": {INSTRUMENT: url},
                "redis-streams": {INSTRUMENT: stream},
            }
        )
    )
    return {
        "SUPPORTED_INSTRUMENTS": INSTRUMENT,
        "INSTRUMENT_CONFIG_FILE": str(configuration),
        "KAFKA_CLUSTER": world.stack.service(Kafka).bootstrap_servers,
        "CONSUMER_GROUP": topic,
        "NEXT_VISIT_TOPIC": topic,
        "OFFSET": "earliest",
        "PLATFORM": platform,
        "REDIS_HOST": world.stack.service(RedisServer).host,
    }


def start_fan_out(processes: Processes, name: str, settings: dict[str, str]) -> Process:
    """Start a fan-out, and wait until it listens."""
    fan_out = processes.start(name, ["prompt-fanout"], settings)

    def ready() -> bool:
        fan_out.check()
        return "Ready for" in fan_out.log.read_text()

    wait_for(ready, "the fan-out listens", 60)
    return fan_out


def make_announcement(group: str, field: int, sal_index: int = 1) -> Any:
    """Announce a visit of all detectors, now."""
    ra, dec, rotation = FIELDS[field]
    return make_next_visit(
        instrument=INSTRUMENT,
        group=group,
        sal_index=sal_index,
        ra=ra,
        dec=dec,
        rotation=rotation,
        physical_filter=FILTER,
        survey="load",
        n_snaps=1,
        start=time.time() + 20.0,
        duration=30.0,
    )


def measure_fan_out(world: World, measured: Measured, processes: Processes, n_visits: int) -> None:
    """Measure both platforms, each with the whole focal plane.

    The receivers note when the entry or the request is there, by this
    machine's clock; the time begins before the announcement is handed to
    Kafka.
    """
    log, port = world.folder / "received.jsonl", world.folder / "receiver.port"
    receiver = ["python", "-m", f"{__package__}.fan_out", str(world.folder)]
    processes.start("receiver", receiver, world.environment(WORKERS))
    wait_for(port.exists, "the receiver listens", 60)
    stream = f"fan-out:{world.name}"
    for platform, name, times in (
        ("keda", "Redis", lambda: _stream_times(world, stream)),
        ("knative", "HTTP", lambda: _request_times(log)),
    ):
        topic = f"{world.name}-{platform}"
        world.stack.service(Kafka).create_topics(topic)
        url = f"http://127.0.0.1:{port.read_text()}/next-visit"
        settings = fan_out_settings(world, platform, topic, url, stream, range(N_DETECTORS))
        fan_out = start_fan_out(processes, f"fan-out-{platform}", settings)
        seconds = _announce(world, topic, times, n_visits)
        fan_out.terminate()
        fan_out.wait(60)
        measured.figures += [
            Figure(
                f"fan-out over {name}: next_visit to the last of {N_DETECTORS} requests, p99",
                percentile(seconds, 99),
                "s",
                _TARGET_S,
            ),
            Figure(f"fan-out over {name}: median", percentile(seconds, 50), "s"),
        ]


def _announce(
    world: World, topic: str, times: Callable[[], dict[str, list[float]]], n_visits: int
) -> list[float]:
    """Announce visits one after the other; return how long each took to be there for all detectors."""
    announcer = Announcer(make_producer(world.stack.service(Kafka).plain, linger_ms=0), topic, None)
    seconds = []
    for number in range(n_visits + 1):
        group = f"{topic} {number}"
        begin = time.time()
        announcer.publish(make_announcement(group, number % 2))
        arrived: list[float] = []

        def all_there(group: str = group, arrived: list[float] = arrived) -> bool:
            arrived[:] = times().get(group, [])
            return len(arrived) >= N_DETECTORS

        wait_for(all_there, f"all requests of visit {number}", 120, 0.25)
        seconds.append(max(arrived) - begin)
    # The first meets a fan-out that has no connection yet.
    return seconds[1:]


def _stream_times(world: World, stream: str) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    with world.stack.service(RedisServer).client() as client:
        entries: Any = client.xrange(stream)
    for identifier, fields in entries:
        text = {_text(key): _text(value) for key, value in fields.items()}
        # Redis names an entry after the millisecond in which it came.
        found.setdefault(text["groupId"], []).append(int(_text(identifier).split("-")[0]) / 1000)
    return found


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _request_times(path: Path) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    if path.exists():
        for line in path.read_text().splitlines():
            group, when = json.loads(line)
            found.setdefault(group, []).append(when)
    return found


async def receive(folder: Path) -> None:
    """Take requests for ever, and note when each was there.

    A loop of its own, since a thread for each of 189 requests would be most
    of what is measured.
    """
    with (folder / "received.jsonl").open("w", buffering=1) as log:

        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            when = time.time()
            length = re.search(rb"(?i)content-length: *(\d+)", head)
            event = json.loads(await reader.readexactly(int(length[1]) if length else 0))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            writer.close()
            log.write(json.dumps([json.loads(event["data"])["groupId"], when]) + "\n")

        # As many connections as a focal plane has detectors come in one moment.
        server = await asyncio.start_server(take, "127.0.0.1", 0, backlog=1024)
        port = folder / "receiver.part"
        port.write_text(str(server.sockets[0].getsockname()[1]))
        port.rename(folder / "receiver.port")
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(receive(Path(sys.argv[1])))
