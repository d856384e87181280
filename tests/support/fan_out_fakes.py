"""The fan-out with a consumer and an HTTP server in place of Kafka and Knative."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from prompt_processing.domain.clock import utc_to_tai
from prompt_processing.domain.visit import NextVisit
from prompt_processing.fanout.config import DetectorMap, FanOutSettings
from prompt_processing.fanout.destinations import KnativeServices
from prompt_processing.fanout.metrics import FanOutMetrics
from prompt_processing.fanout.service import FanOutService


def visit_fields(**fields: object) -> dict[str, Any]:
    return {
        "salIndex": 1,
        "scriptSalIndex": 2,
        "groupId": "2025-06-09T01:02:03.456",
        "coordinateSystem": 2,
        "position": [150.0, 2.0],
        "startTime": utc_to_tai(time.time()),
        "rotationSystem": 2,
        "cameraAngle": 10.0,
        "filters": "r_57",
        "dome": 2,
        "duration": 20.0,
        "nimages": 1,
        "instrument": "LSSTCam",
        "survey": "SURVEY",
        "totalCheckpoints": 1,
        "private_sndStamp": utc_to_tai(time.time()),
        "private_efdStamp": 0.0,
        "private_identity": "summit",
    } | fields


class FakeMessage:
    def __init__(self, value: bytes | None, offset: int) -> None:
        self._value, self._offset = value, offset

    def error(self) -> None:
        return None

    def topic(self) -> str:
        return "next-visit-topic"

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def value(self) -> bytes | None:
        return self._value


class FakeConsumer:
    """A consumer that returns its messages one by one, then nothing."""

    def __init__(self, values: list[bytes | None]) -> None:
        self.waiting = [FakeMessage(value, offset) for offset, value in enumerate(values)]
        self.committed: list[int] = []
        self.closed = False
        self.paused = False

    def poll(self, timeout: float) -> FakeMessage | None:
        if self.waiting and not self.paused:
            return self.waiting.pop(0)
        time.sleep(0.01)
        return None

    def assignment(self) -> list[Any]:
        return ["all"]

    def pause(self, partitions: list[Any]) -> None:
        self.paused = True

    def resume(self, partitions: list[Any]) -> None:
        self.paused = False

    def commit(self, *, offsets: list[Any], asynchronous: bool) -> None:
        self.committed += [position.offset for position in offsets]

    def close(self) -> None:
        assert not self.closed
        self.closed = True


class Receiver:
    """A Knative service's requests; `answer` sets its response."""

    def __init__(self) -> None:
        self.events: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.answer: Callable[[dict[str, Any]], tuple[int, dict[str, str]]] = lambda _: (200, {})
        self.now = 0
        self.most_at_once = 0
        self.lock = threading.Lock()
        self.url = ""

    @contextmanager
    def running(self) -> Iterator[Receiver]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                # As other implementations' workers do, which accept neither binary mode nor an object.
                body = json.loads(event.pop("data"))
                event["content-type"] = self.headers["Content-Type"]
                with receiver.lock:
                    receiver.events.append((event, body))
                    receiver.now += 1
                    receiver.most_at_once = max(receiver.most_at_once, receiver.now)
                status, headers = receiver.answer(body)
                with receiver.lock:
                    receiver.now -= 1
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            # A whole focal plane connects at once; with a backlog of five the others would retry for long.
            request_queue_size = 256

        server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_port}/next-visit"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()


def settings(**fields: object) -> FanOutSettings:
    return FanOutSettings.model_validate(
        {
            "supported_instruments": "LSSTCam",
            "instrument_config_file": Path("unused.yaml"),
            "kafka_cluster": "unused",
            "consumer_group": "unused",
        }
        | fields
    )


def fan_out(
    receiver: Receiver,
    values: list[bytes | None],
    until: Callable[[FakeConsumer, FanOutMetrics], bool],
    n_detectors: int = 3,
    standing: dict[int, int] | None = None,
    announced: list[tuple[str, list[int]]] | None = None,
    **fields: object,
) -> tuple[FakeConsumer, FanOutMetrics]:
    """Run the service until a condition holds (at most 20 s), then stop it."""
    chosen = settings(**fields)
    consumer, metrics = FakeConsumer(values), FanOutMetrics()

    async def run() -> None:
        detectors = DetectorMap.model_validate(
            {
                "detectors": {"LSSTCam": dict.fromkeys(range(n_detectors), True) | {188: False}},
                "knative-urls": {"LSSTCam": receiver.url},
            }
        )
        destination = KnativeServices(
            detectors.knative_urls,
            "next-visit-topic",
            chosen.max_fan_out_messages,
            chosen.retry_knative_requests,
            chosen.message_expiration,
            metrics,
        )

        def note(visit: NextVisit, chosen: Sequence[int]) -> None:
            if announced is not None:
                announced.append((visit.groupId, list(chosen)))

        service = FanOutService(
            chosen,
            detectors,
            consumer,
            destination,
            None,
            metrics,
            standing,
            announce=note,
        )
        stop = asyncio.Event()
        work: Awaitable[None] = asyncio.create_task(service.run(stop))
        deadline = time.monotonic() + 20
        while not until(consumer, metrics):
            assert time.monotonic() < deadline, "condition not reached"
            await asyncio.sleep(0.02)
        stop.set()
        await work

    asyncio.run(run())
    return consumer, metrics


def message(**fields: object) -> bytes:
    return json.dumps(visit_fields(**fields)).encode()


def committed(offset: int) -> Callable[[FakeConsumer, FanOutMetrics], bool]:
    return lambda consumer, _: bool(consumer.committed) and consumer.committed[-1] == offset


def count(metrics: FanOutMetrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, labels) or 0.0
