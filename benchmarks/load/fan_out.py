"""Seconds from an announcement to the last request on the wire, over both platforms."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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
from .world import World

_TARGET_S = 0.5


def fan_out_settings(
    world: World, platform: str, topic: str, url: str, stream: str, detectors: Sequence[int]
) -> dict[str, str]:
    """Settings of a fan-out."""
    configuration = world.folder / f"{topic}.yaml"
    configuration.write_text(
        yaml.safe_dump(
            {
                "detectors": {INSTRUMENT: dict.fromkeys(detectors, True)},
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


def make_announcement(group: str, field: int) -> Any:
    """Announce a visit of all detectors, now."""
    ra, dec, rotation = FIELDS[field]
    return make_next_visit(
        instrument=INSTRUMENT,
        group=group,
        sal_index=1,
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
    detectors = tuple(world.camera.detectors)
    for platform in ("keda", "knative"):
        topic = f"{world.name}-{platform}"
        stream = f"fan-out:{topic}"
        world.stack.service(Kafka).create_topics(topic)
        url = "http://127.0.0.1:9/unused"
        times: Callable[[], dict[str, list[float]]] = lambda stream=stream: _stream_times(world, stream)  # type: ignore[misc]
        if platform == "knative":
            receiver = processes.start(
                "receiver",
                ["python", "-m", f"{__package__}.fan_out", str(world.folder)],
                world.environment("workers"),
            )
            port_file = world.folder / "receiver.port"
            wait_for(port_file.exists, "the receiver listens", 60)
            url = f"http://127.0.0.1:{port_file.read_text()}/next-visit"
            times = lambda: _request_times(world.folder / "received.jsonl")  # noqa: E731
        settings = fan_out_settings(world, platform, topic, url, stream, detectors)
        fan_out = start_fan_out(processes, f"fan-out-{platform}", settings)
        announcer = Announcer(make_producer(world.stack.service(Kafka).plain, linger_ms=0), topic, None)
        sent: dict[str, float] = {}
        for number in range(n_visits + 1):
            group = f"{topic} {number}"
            sent[group] = time.time()
            announcer.publish(make_announcement(group, number % 2))
            wait_for(
                lambda group=group: len(times().get(group, ())) >= len(detectors),  # type: ignore[misc]
                f"all requests of visit {number}",
                120,
                0.25,
            )
        fan_out.terminate()
        fan_out.wait(60)
        arrived = times()
        # The first meets a fan-out that has no connection yet.
        seconds = [max(arrived[group]) - begin for group, begin in list(sent.items())[1:]]
        name = {"keda": "Redis", "knative": "HTTP"}[platform]
        measured.figures += [
            Figure(
                f"fan-out over {name}: next_visit to the last of {len(detectors)} requests, p99",
                percentile(seconds, 99),
                "s",
                _TARGET_S,
            ),
            Figure(f"fan-out over {name}: median", percentile(seconds, 50), "s"),
        ]


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


class _Receiver(ThreadingHTTPServer):
    # As many connections as a focal plane has detectors come in one moment.
    request_queue_size = 1024
    daemon_threads = True


def receive(folder: Path) -> None:
    """Take requests for ever, and note when each was there."""
    lock = threading.Lock()
    with (folder / "received.jsonl").open("w", buffering=1) as log:

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                when = time.time()
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()
                with lock:
                    log.write(json.dumps([json.loads(body)["groupId"], when]) + "\n")

            def log_message(self, format: str, *args: object) -> None:
                pass

        with _Receiver(("127.0.0.1", 0), Handler) as server:
            port = folder / "receiver.part"
            port.write_text(str(server.server_port))
            port.rename(folder / "receiver.port")
            server.serve_forever()


if __name__ == "__main__":
    receive(Path(sys.argv[1]))
