"""Stream workers with real Redis, Kafka and S3; the repositories are make-believe."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fan_out_fakes import visit_fields

from prompt_processing.activator.services.serve_stream import ServeStream
from prompt_processing.activator.storage.visit_stream import StreamEntry, VisitStream
from prompt_processing.domain.clock import day_obs
from prompt_processing.domain.outcome import Outcome, Status
from prompt_processing.domain.visit import FannedOutVisit, NextVisit
from prompt_processing.fanout.destinations import RedisStreams
from prompt_processing.fanout.metrics import FanOutMetrics
from prompt_processing.instruments.raw_key import format_raw_key, lsst_exposure_id
from prompt_processing.services.kafka import NOTICES_TOPIC, Kafka
from prompt_processing.services.object_store import ObjectStore
from prompt_processing.services.redis_server import RedisServer
from prompt_processing.services.service import free_port
from prompt_processing.services.stack import ServiceStack

pytestmark = pytest.mark.services

GROUP = "lsstcam_consumer_group"
DETECTOR = 94

WORKER = '''
"""The real stream worker on a workspace that only pretends, and an APDB that is a file."""
import os, pathlib, sys, time
from prompt_processing.activator.factory import ProcessContext
from prompt_processing.activator.stream_worker import load_settings, serve

SLOW, APDB = os.environ.get("SLOW_STEP"), pathlib.Path("apdb")


class Run:
    pipeline, metadata, seconds = "ApPipe", {}, {"isr": 1.0}


class Workspace:
    runs = {}
    def step(self, name):
        if SLOW == name:
            print(f"reached {name}", flush=True)
            time.sleep(60)

    def preload(self): self.step("preload")
    def run_preprocessing(self): pass
    def ingest(self, images):
        names = [uri.basename().split("_") for uri in images]
        return tuple(int(name[2]) * 100000 + int(name[3]) for name in names)

    def run_pipeline(self):
        self.step("pipeline")
        APDB.touch()
        self.step("alerts")
        return Run()

    def export(self): return 3
    def clean(self): print("cleaned", flush=True)


class Context(ProcessContext):
    def warm(self): pass
    def open_workspace(self, visit, pipelines): return Workspace()
    def in_apdb(self, exposures, detector): return APDB.exists()


context = Context(load_settings())
context.start_logging()
sys.exit(serve(context))
'''


def make_visit(group: str) -> NextVisit:
    return NextVisit.parse(visit_fields(groupId=group, duration=5.0))


class World:
    """A stream, a bucket, and workers on them."""

    def __init__(
        self,
        folder: Path,
        redis_server: RedisServer,
        kafka: Kafka,
        store: ObjectStore,
        stream: str,
        bucket: str,
    ) -> None:
        self.folder, self.redis, self.kafka, self.store = folder, redis_server, kafka, store
        self.stream, self.bucket = stream, bucket
        self.workers: list[subprocess.Popen[str]] = []
        self.logs: list[Path] = []
        store.client().create_bucket(Bucket=bucket)
        (folder / "worker.py").write_text(WORKER)

    def send(self, *visits: FannedOutVisit) -> None:
        """As the fan-out does it."""

        async def send() -> list[str]:
            streams = RedisStreams({"LSSTCam": self.stream}, self.redis.host, 3600.0, FanOutMetrics())
            answers = list(await asyncio.gather(*(streams.send(visit) for visit in visits)))
            await streams.close()
            return answers

        assert set(asyncio.run(send())) == {"accepted"}

    def put_raw(self, group: str, sequence: int = 1) -> None:
        # Of this night: workers look for no older one.
        key = format_raw_key("LSSTCam", DETECTOR, lsst_exposure_id(day_obs(time.time()), sequence))
        client = self.store.client()
        sidecar = json.dumps({"GROUPID": group}).encode()
        client.put_object(Bucket=self.bucket, Key=key.sidecar_key(), Body=sidecar)
        client.put_object(Bucket=self.bucket, Key=key.key, Body=b"raw")

    def start(self, **environment: str) -> subprocess.Popen[str]:
        log = self.folder / f"worker-{len(self.workers)}.log"
        settings = {
            **self.store.environment(),
            "RUBIN_INSTRUMENT": "LSSTCam",
            "SKYMAP": "s",
            "CENTRAL_REPO": "unused",
            "IMAGE_BUCKET": self.bucket,
            "KAFKA_CLUSTER": self.kafka.bootstrap_servers,
            "BUCKET_TOPIC": NOTICES_TOPIC,
            "PREPROCESSING_PIPELINES_CONFIG": "- pipelines: [Preprocessing.yaml]",
            "MAIN_PIPELINES_CONFIG": "- pipelines: [ApPipe.yaml]",
            "CONFIG_APDB": "unused",
            "REDIS_STREAM_HOST": self.redis.host,
            "REDIS_STREAM_NAME": self.stream,
            "REDIS_RETRY_DELAY": "0.5",
            "REDIS_STREAM_CLAIM_IDLE": "3",
            "IMAGE_TIMEOUT": "10",
            "METRICS_PORT": "0",
            **environment,
        }
        with log.open("w") as output:
            worker = subprocess.Popen(
                [sys.executable, str(self.folder / "worker.py")],
                env={**os.environ, **settings},
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                cwd=self.folder,
            )
        self.workers.append(worker)
        self.logs.append(log)
        return worker

    def outcomes(self, worker: int | None = None) -> list[dict[str, Any]]:
        logs = self.logs if worker is None else [self.logs[worker]]
        lines = [line for log in logs for line in log.read_text().splitlines() if line.startswith("{")]
        return [record["outcome"] for line in lines if "outcome" in (record := json.loads(line))]

    def wait_until(self, condition: Callable[[], bool], seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "\n".join(log.read_text() for log in self.logs)
            time.sleep(0.1)

    def reached(self, step: str) -> Callable[[], bool]:
        return lambda: f"reached {step}" in self.logs[-1].read_text()

    def is_empty(self) -> bool:
        with self.redis.client() as client:
            pending: Any = client.xpending(self.stream, GROUP)
            return bool(client.xlen(self.stream) == 0 and pending["pending"] == 0)

    def stop(self) -> None:
        for worker in self.workers:
            worker.kill()
            worker.wait(20)


@pytest.fixture
def stream_world(
    tmp_path: Path,
    redis_server: RedisServer,
    kafka: Kafka,
    object_store: ObjectStore,
    new_name: Callable[[str], str],
) -> Iterator[World]:
    made = World(tmp_path, redis_server, kafka, object_store, new_name("instrument:lsstcam"), new_name("raw"))
    yield made
    made.stop()


def test_visit_of_the_fan_out_is_processed_and_taken_off_the_stream(stream_world: World) -> None:
    stream_world.send(make_visit("a").for_detector(DETECTOR))
    port = free_port()
    worker = stream_world.start(METRICS_PORT=str(port), FANNED_OUT_MSG_LISTEN_TIMEOUT="2")
    stream_world.put_raw("a")
    assert worker.wait(60) == 0  # For want of visits.
    (outcome,) = stream_world.outcomes()
    assert outcome["status"] == "processed"
    assert stream_world.is_empty()
    with stream_world.redis.client() as client:
        assert client.xinfo_consumers(stream_world.stream, GROUP) == []


@pytest.mark.parametrize(
    ("step", "expected"), [("preload", "processed"), ("pipeline", "processed"), ("alerts", "failed")]
)
def test_visit_of_a_worker_that_dies_is_taken_over(stream_world: World, step: str, expected: str) -> None:
    stream_world.send(make_visit("a").for_detector(DETECTOR))
    stream_world.put_raw("a")
    dying = stream_world.start(SLOW_STEP=step)
    stream_world.wait_until(stream_world.reached(step))
    dying.kill()
    stream_world.start()
    stream_world.wait_until(lambda: len(stream_world.outcomes()) == 1)
    stream_world.wait_until(stream_world.is_empty, 10)
    (outcome,) = stream_world.outcomes()
    assert outcome["status"] == expected
    if expected == "failed":
        assert outcome["retry"] == "unsafe"


def test_visit_of_a_worker_that_is_told_to_end_is_taken_over_at_once(stream_world: World) -> None:
    stream_world.send(make_visit("a").for_detector(DETECTOR))
    stream_world.put_raw("a")
    ending = stream_world.start(SLOW_STEP="pipeline", REDIS_STREAM_CLAIM_IDLE="1000")
    stream_world.wait_until(stream_world.reached("pipeline"))
    ending.send_signal(signal.SIGTERM)
    assert ending.wait(30) == 0
    assert "cleaned" in stream_world.logs[0].read_text()
    stream_world.start(REDIS_STREAM_CLAIM_IDLE="1000")
    stream_world.wait_until(lambda: len(stream_world.outcomes(1)) == 1, 30)
    assert [outcome["status"] for outcome in stream_world.outcomes()] == ["retriable", "processed"]
    stream_world.wait_until(stream_world.is_empty, 10)


def test_visit_of_a_worker_that_lives_is_left_to_it(stream_world: World) -> None:
    """Three times as long as the time without a sign of life."""
    stream = VisitStream(stream_world.redis.host, stream_world.stream, GROUP, 1.0)
    other = VisitStream(stream_world.redis.host, stream_world.stream, GROUP, 1.0)
    stream.open()
    stream_world.send(make_visit("a").for_detector(DETECTOR))
    entry = stream.read(5.0)
    assert entry is not None
    with stream.held(entry):
        for _ in range(6):
            time.sleep(0.5)
            assert other.claim() is None
    time.sleep(1.2)
    taken = other.claim()
    assert taken is not None
    assert (taken.id, taken.deliveries) == (entry.id, 2)
    assert not stream.acknowledge(entry)
    assert not stream.give_back(entry, 0.0, tried=True)
    assert other.give_back(taken, 0.0, tried=False)
    again = stream.claim()
    assert again is not None
    assert again.deliveries == 2
    assert stream.acknowledge(again)
    assert stream_world.is_empty()


def test_consumer_that_still_has_a_visit_stays_in_the_group(stream_world: World) -> None:
    stream = VisitStream(stream_world.redis.host, stream_world.stream, GROUP, 0.1)
    stream.open()
    stream_world.send(make_visit("a").for_detector(DETECTOR))
    assert stream.read(5.0) is not None
    stream.close()
    time.sleep(0.2)
    other = VisitStream(stream_world.redis.host, stream_world.stream, GROUP, 0.1)
    assert other.claim() is not None


def test_many_workers_share_a_focal_plane_and_none_does_a_visit_twice(stream_world: World) -> None:
    done: list[int] = []
    lock = threading.Lock()

    class Quick:
        def process(self, visit: FannedOutVisit) -> Outcome:
            with lock:
                done.append(visit.detector)
            return Outcome(Status.PROCESSED, "")

        def record(self, outcome: Outcome, visit: FannedOutVisit | None = None) -> None:
            raise AssertionError(outcome)

    stop = threading.Event()
    streams = [VisitStream(stream_world.redis.host, stream_world.stream, GROUP, 30.0) for _ in range(8)]
    workers = [
        threading.Thread(target=ServeStream(stream, Quick(), 30.0, 0, 0.5).run, args=(stop,), daemon=True)
        for stream in streams
    ]
    for worker in workers:
        worker.start()
    stream_world.send(*(make_visit("a").for_detector(detector) for detector in range(189)))
    stream_world.wait_until(lambda: len(done) >= 189)
    stream_world.wait_until(stream_world.is_empty, 10)
    stop.set()
    for worker in workers:
        worker.join(20)
    assert sorted(done) == list(range(189))


def test_redis_may_go_and_come_back(tmp_path: Path, stream_world: World, service_stack: ServiceStack) -> None:
    with ServiceStack(tmp_path / "own") as stack:
        stack.start(RedisServer)
        stream_world.redis = stack.service(RedisServer)
        stream_world.start(SLOW_STEP="never")
        stream_world.send(make_visit("a").for_detector(DETECTOR))
        stream_world.put_raw("a")
        stream_world.wait_until(lambda: len(stream_world.outcomes()) == 1)
        stream_world.wait_until(stream_world.is_empty, 10)
        (tmp_path / "apdb").unlink()
        stack.server(RedisServer).stop()
        stream_world.wait_until(lambda: "trying again in" in stream_world.logs[0].read_text())
        visit = make_visit("b").for_detector(DETECTOR)
        sending = threading.Thread(target=stream_world.send, args=(visit,))
        sending.start()
        time.sleep(1.0)
        stack.start(RedisServer)
        sending.join(30)
        stream_world.put_raw("b", 2)
        stream_world.wait_until(lambda: len(stream_world.outcomes()) == 2)
        stream_world.wait_until(stream_world.is_empty, 10)


def test_entry_that_is_no_visit_does_not_stop_the_worker(stream_world: World) -> None:
    with stream_world.redis.client() as client:
        client.xadd(stream_world.stream, {"groupId": "broken"})
    stream_world.send(make_visit("a").for_detector(DETECTOR))
    stream_world.put_raw("a")
    stream_world.start()
    stream_world.wait_until(lambda: len(stream_world.outcomes()) == 2)
    assert [outcome["status"] for outcome in stream_world.outcomes()] == ["malformed", "processed"]
    stream_world.wait_until(stream_world.is_empty, 10)
    assert StreamEntry("1-0", {}, 1).fields == {}
