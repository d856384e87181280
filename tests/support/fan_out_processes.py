"""The fan-out as a process, and an HTTP service that receives its visits."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from prompt_processing.demo.processes import Process, Processes
from prompt_processing.domain.visit import NextVisit
from prompt_processing.tester.publish import make_next_visit


class VisitReceiver(ThreadingHTTPServer):
    """A server that records the visits posted to it."""

    def __init__(self) -> None:
        self.visits: list[dict[str, Any]] = []
        self.delay = 0.0
        self.now = self.most_at_once = 0
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.count(1)
                time.sleep(receiver.delay)
                receiver.visits.append(json.loads(json.loads(body)["data"]))
                receiver.count(-1)
                # The client may have died in the meantime.
                with suppress(BrokenPipeError, ConnectionResetError):
                    self.send_response(200)
                    self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)

    def count(self, change: int) -> None:
        with self._lock:
            self.now += change
            self.most_at_once = max(self.most_at_once, self.now)

    def await_visits(self, n_visits: int) -> list[dict[str, Any]]:
        deadline = time.monotonic() + 40
        while len(self.visits) < n_visits:
            assert time.monotonic() < deadline, f"only {len(self.visits)} of {n_visits} came"
            time.sleep(0.05)
        return self.visits

    def await_many_at_once(self, n_visits: int) -> None:
        deadline = time.monotonic() + 40
        while self.now < n_visits:
            assert time.monotonic() < deadline, f"only {self.now} of {n_visits} came at once"
            time.sleep(0.02)


@pytest.fixture
def receiver() -> Iterator[VisitReceiver]:
    with VisitReceiver() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def start_fan_out(processes: Processes, folder: Path, receiver: VisitReceiver, **environment: str) -> Process:
    """Start a fan-out for two detectors of LSSTCam, and one of a test group."""
    configuration = folder / "instruments.yaml"
    configuration.write_text(
        f"""
detectors:
  LSSTCam: {{0: true, 94: true, 188: false}}
  LSSTCam-TEST-2025050100367: {{42: true}}
knative-urls:
  LSSTCam: http://127.0.0.1:{receiver.server_port}/next-visit
redis-streams:
  LSSTCam: {environment.pop("STREAM", "instrument:lsstcam")}
"""
    )
    settings = {
        "SUPPORTED_INSTRUMENTS": "LSSTCam",
        "INSTRUMENT_CONFIG_FILE": str(configuration),
        "CONSUMER_GROUP": "fan-out",
        "OFFSET": "earliest",
    }
    return processes.start("fan-out", ["prompt-fanout"], settings | environment)


def announcement(group: str, sal_index: int = 999) -> NextVisit:
    return make_next_visit(
        instrument="LSSTCam",
        group=group,
        sal_index=sal_index,
        ra=10.0,
        dec=-20.0,
        rotation=3.0,
        physical_filter="r_57",
        survey="SURVEY",
        n_snaps=1,
        start=time.time(),
        duration=20.0,
    )


def await_log(process: Process, text: str, count: int = 1) -> None:
    """Wait until a process has written something to its log, at most 40 s."""
    deadline = time.monotonic() + 40
    while process.log.read_text().count(text) < count:
        assert time.monotonic() < deadline, f"{text!r} is not in the log:\n{process.log_tail()}"
        time.sleep(0.05)
