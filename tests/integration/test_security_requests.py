"""The worker's port, as somebody uses it who means no good."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

import pytest
import requests

from prompt_processing.activator.app import LARGEST_REQUEST
from prompt_processing.activator.request_worker import REQUEST_TIMEOUT

pytestmark = pytest.mark.integration

APPLICATION = '''
"""The real application around a service that processes nothing."""
from prompt_processing.activator.app import make_app
from prompt_processing.domain.outcome import Outcome, Status
from prompt_processing.telemetry.metrics import Metrics


class Service:
    def record(self, outcome): print(outcome.reason, flush=True)
    def process(self, visit): return Outcome(Status.SKIPPED, "nothing to do")


app = make_app(Service(), Metrics("LSSTCam"), ready=lambda: True)
'''


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    folder = tmp_path_factory.mktemp("worker")
    (folder / "harmless.py").write_text(APPLICATION)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    worker = "prompt_processing.activator.request_worker.RequestWorker"
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "-b", f"127.0.0.1:{port}", "-k", worker, "harmless:app"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                requests.get(f"http://127.0.0.1:{port}/health", timeout=5)
                break
            except requests.RequestException:
                time.sleep(0.2)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def request(length: str) -> bytes:
    attributes = "".join(f"ce-{name}: x\r\n" for name in ("id", "source", "type", "specversion"))
    return f"POST /next-visit HTTP/1.1\r\nHost: x\r\n{length}\r\n{attributes}\r\n".encode()


def answers(port) -> bool:
    return requests.get(f"http://127.0.0.1:{port}/health", timeout=REQUEST_TIMEOUT + 10).status_code == 200


def test_a_body_that_is_announced_as_too_large_is_not_read(port):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(request("Content-Length: 1000000000000"))
        assert client.recv(100).startswith(b"HTTP/1.1 413 ")
    assert answers(port)


def test_an_endless_body_in_chunks_is_answered_after_what_is_allowed(port):
    sent = 0

    def chunks():
        nonlocal sent
        for _ in range(4000):
            sent += 64 * 1024
            yield b" " * (64 * 1024)

    headers = {f"ce-{name}": "x" for name in ("id", "source", "type", "specversion")}
    try:
        response = requests.post(
            f"http://127.0.0.1:{port}/next-visit", data=chunks(), headers=headers, timeout=30
        )
    except requests.ConnectionError:
        # The client may see the end of the connection before it looks for the answer.
        pass
    else:
        assert response.status_code == 413
    # Some megabytes fit into buffers on the way.
    assert LARGEST_REQUEST < sent < 4000 * 64 * 1024
    assert answers(port)


def test_the_answer_arrives_though_the_client_is_still_sending(port):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(request("Transfer-Encoding: chunked"))
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        for _ in range(10):
            client.sendall(chunk)
        assert client.recv(100).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "rest", [b"zz\r\nabc", b"5\r\nab", b"-5\r\nabcde\r\n", b"5\r\nabcdeXX0\r\n\r\n", b"0" * 10000]
)
def test_broken_chunks_are_a_bad_request(port, rest):
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(request("Transfer-Encoding: chunked") + rest)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100).startswith(b"HTTP/1.1 400 ")
    assert answers(port)


@pytest.mark.parametrize(
    "start", [b"", b"POST /next", b"POST /next-visit HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"]
)
def test_a_client_that_falls_silent_does_not_keep_the_worker(port, start):
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(start)
        time.sleep(0.2)
        begin = time.monotonic()
        assert answers(port)
        assert time.monotonic() - begin < REQUEST_TIMEOUT + 5
