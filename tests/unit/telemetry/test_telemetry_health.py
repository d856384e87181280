"""Liveness and readiness mean something for every process: each of them can fail."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from confluent_kafka import Consumer, Producer
from fan_out_fakes import FakeConsumer
from flask import Flask
from lsst.resources import ResourcePath

from prompt_processing.activator import side_server
from prompt_processing.butler_writer.metrics import WriterMetrics
from prompt_processing.butler_writer.service import WriterService
from prompt_processing.domain.notices import ArrivalNotice
from prompt_processing.fanout.config import DetectorMap, FanOutSettings
from prompt_processing.fanout.destinations import KnativeServices
from prompt_processing.fanout.metrics import FanOutMetrics
from prompt_processing.fanout.service import FanOutService
from prompt_processing.raw_microservice.follower import NoticeFollower
from prompt_processing.services.service import free_port
from prompt_processing.telemetry import page_routes
from prompt_processing.telemetry.health import Health, Heartbeat
from prompt_processing.telemetry.pages import Pages, PageServer
from prompt_processing.transport.arrival_notices import NoticesUnavailableError
from prompt_processing.transport.kafka import ClusterCheck


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def raising() -> bool:
    raise OSError("gone")


@pytest.mark.parametrize("check", [lambda: False, raising])
def test_a_failing_check_is_named_with_status_503(check: Callable[[], bool]) -> None:
    unready = Health(live={"loop": lambda: True}, ready={"kafka": check})
    assert unready.liveness() == (200, {"live": True})
    assert unready.readiness() == (503, {"live": True, "ready": False, "failing": ["kafka"]})
    dead = Health(live={"loop": check})
    assert dead.liveness() == (503, {"live": False, "failing": ["loop"]})
    assert dead.readiness()[0] == 503


def test_a_loop_that_stalls_shows_and_one_that_has_ended_does_not() -> None:
    now = [0.0]
    heartbeat = Heartbeat(10.0, lambda: now[0])
    now[0] = 10.0
    assert heartbeat.beats()
    now[0] = 11.0
    assert not heartbeat.beats()
    heartbeat.beat()
    assert heartbeat.beats()
    heartbeat.end()
    now[0] = 1000.0
    assert heartbeat.beats()


def test_pages_are_the_same_beside_the_work_and_in_flask() -> None:
    ready = [False]
    pages = Pages(Health(ready={"repositories": lambda: ready[0]}), lambda: b"# metrics")
    app = Flask("test")
    app.register_blueprint(page_routes.make_blueprint(pages))
    client = app.test_client()
    port = free_port()
    server = PageServer(port, pages)
    server.start()
    try:
        for expected in (503, 200):
            for path in Pages.PATHS:
                here = client.get(path)
                there = requests.get(f"http://127.0.0.1:{port}{path}", timeout=5)
                assert (here.status_code, here.data) == (there.status_code, there.content)
                assert here.content_type == there.headers["Content-Type"]
            assert client.get("/health/live").status_code == 200
            assert client.get("/health").status_code == client.get("/health/ready").status_code == expected
            ready[0] = True
        assert requests.get(f"http://127.0.0.1:{port}/other", timeout=5).status_code == 404
    finally:
        server.stop()
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{port}/health/live", timeout=5)


def test_cluster_that_is_gone_is_found_out() -> None:
    host = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "none"})
    servers = ",".join(f"{b.host}:{b.port}" for b in host.list_topics(timeout=10).brokers.values())
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "test"}, logger=None)
    check = ClusterCheck(consumer, "visits", timeout=10.0, interval=-1.0)
    assert check()
    del host
    gone = Consumer({"bootstrap.servers": "127.0.0.1:1", "group.id": "test", "error_cb": lambda _: None})
    assert not ClusterCheck(gone, "visits", timeout=0.2)()
    for one in (consumer, gone):
        one.close()


class Notices:
    """Stands in for the topic of arrival notices."""

    def __init__(self) -> None:
        self.connected = True
        self.away = False
        self.polled: Callable[[], list[ArrivalNotice]] = list
        self.polls = 0

    def start(self) -> None:
        self.reconnect()

    def poll(self, seconds: float) -> list[ArrivalNotice]:
        self.polls += 1
        time.sleep(0.005)
        return self.polled()

    def reconnect(self) -> None:
        if self.away:
            raise NoticesUnavailableError("Kafka is away")
        self.connected = True

    def close(self) -> None:
        pass


class Raws:
    def __init__(self) -> None:
        self.noted: list[ArrivalNotice] = []

    def note(self, notice: ArrivalNotice) -> None:
        if not notice.keys:
            raise KeyError("a bug")
        self.noted.append(notice)


@pytest.fixture
def notices() -> Notices:
    return Notices()


@pytest.fixture
def follower(notices: Notices) -> Any:
    raws: Any = Raws()
    follower = NoticeFollower(notices, raws, retry_delay=0.01)
    yield follower
    follower.stop()


def test_raw_microservice_is_not_ready_until_it_follows_the_notices(
    notices: Notices, follower: NoticeFollower
) -> None:
    notices.away = True
    follower.start()
    eventually(follower.alive)
    assert not follower.following()
    notices.away = False
    eventually(follower.following)


def test_raw_microservice_is_not_ready_while_kafka_is_gone(
    notices: Notices, follower: NoticeFollower
) -> None:
    follower.start()
    eventually(follower.following)
    notices.away, notices.connected = True, False
    assert not follower.following()
    assert follower.alive()
    notices.away = False
    eventually(follower.following)


@pytest.mark.parametrize("error", [KeyError("x"), RuntimeError("consumer closed"), OSError(5, "io")])
def test_follower_survives_whatever_kafka_brings(
    notices: Notices, follower: NoticeFollower, error: Exception
) -> None:
    failures = [error]

    def fail_once() -> list[ArrivalNotice]:
        if failures:
            raise failures.pop()
        return []

    notices.polled = fail_once
    follower.start()
    eventually(lambda: notices.polls > 3)
    assert follower.following()


def test_one_bad_notice_does_not_hide_the_next(notices: Notices) -> None:
    raws: Any = Raws()
    good = ArrivalNotice(keys=("a",), arrival=None)
    batches = [[ArrivalNotice(keys=(), arrival=None), good]]
    notices.polled = lambda: batches.pop() if batches else []
    follower = NoticeFollower(notices, raws)
    follower.start()
    eventually(lambda: raws.noted == [good])
    follower.stop()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_raw_microservice_whose_follower_has_ended_is_dead(
    notices: Notices, follower: NoticeFollower
) -> None:
    def end() -> list[ArrivalNotice]:
        raise SystemExit

    notices.polled = end
    follower.start()
    eventually(lambda: not follower.alive())
    assert not follower.following()


class Topics:
    def __init__(self) -> None:
        self.read_once = threading.Event()
        self.goes_on = threading.Event()

    def read(self, limit: int, seconds: float) -> list[Any]:
        self.read_once.set()
        self.goes_on.wait(20)
        return []


def test_writer_that_stalls_is_dead(tmp_path: Path) -> None:
    now, stop, topics = [0.0], threading.Event(), Topics()
    heartbeat = Heartbeat(60.0, lambda: now[0])
    parts: Any = (topics, None, ResourcePath(str(tmp_path)), WriterMetrics(), 0.01, heartbeat)
    thread = threading.Thread(target=WriterService(*parts).run, args=(stop,))
    thread.start()
    assert topics.read_once.wait(20)
    assert heartbeat.beats()
    now[0] = 61.0
    assert not heartbeat.beats()
    stop.set()
    topics.goes_on.set()
    thread.join(20)


def test_master_that_no_longer_runs_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prompt_processing.telemetry.metrics.workers_ready", lambda: 1)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as master:
        pages = side_server._pages(master.pid)
        assert pages.answer("/health/live")[0] == pages.answer("/health")[0] == 200
        master.send_signal(signal.SIGSTOP)
        eventually(lambda: pages.answer("/health/live")[0] == 503)
        master.send_signal(signal.SIGCONT)
        master.kill()
    assert pages.answer("/health/live")[0] == 503


def test_worker_without_ready_workers_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prompt_processing.telemetry.metrics.workers_ready", lambda: 0)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as master:
        status, _, body = side_server._pages(master.pid).answer("/health/ready")
        master.kill()
    assert status == 503
    assert b'"workers": 0' in body


def test_fan_out_whose_consumer_stalls_is_dead(tmp_path: Path) -> None:
    now, topics = [0.0], Topics()
    heartbeat = Heartbeat(60.0, lambda: now[0])

    class Stalled(FakeConsumer):
        def poll(self, timeout: float) -> None:
            topics.read(1, timeout)

    async def run() -> None:
        settings = FanOutSettings(
            supported_instruments=frozenset({"LATISS"}),
            instrument_config_file=tmp_path / "instruments.yaml",
            kafka_cluster="kafka:9092",
            consumer_group="fan-out",
        )
        metrics = FanOutMetrics()
        service = FanOutService(
            settings,
            DetectorMap(detectors={}),
            Stalled([]),
            KnativeServices({}, "visits", 1, False, 60.0, metrics),
            None,
            metrics,
            heartbeat=heartbeat,
        )
        stop = asyncio.Event()
        work = asyncio.create_task(service.run(stop))
        await asyncio.to_thread(topics.read_once.wait, 20)
        assert heartbeat.beats()
        now[0] = 61.0
        assert not heartbeat.beats()
        stop.set()
        topics.goes_on.set()
        await work
        # While the last answers are awaited nothing turns, and nothing is wrong.
        assert heartbeat.beats()

    asyncio.run(run())
