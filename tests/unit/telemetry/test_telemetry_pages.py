"""Errors of the small server are messages of the log, and nothing else is printed."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from prompt_processing.telemetry.pages import Answer, LoggingServer, handler_of

REQUEST = b"GET /metrics HTTP/1.0\r\n\r\n"


@pytest.fixture
def served() -> Iterator[Callable[[Callable[[str], Answer]], int]]:
    servers = []

    def serve(answer: Callable[[str], Answer]) -> int:
        server = LoggingServer(("127.0.0.1", 0), handler_of(answer))
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return int(server.server_address[1])

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def wait_for(text: str, caplog: pytest.LogCaptureFixture) -> logging.LogRecord:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for record in caplog.records:
            if text in record.getMessage():
                return record
        time.sleep(0.01)
    raise AssertionError(caplog.text)


def test_failed_answer_is_logged(served, caplog, capsys):
    def answer(path: str) -> Answer:
        raise KeyError(path)

    with socket.create_connection(("127.0.0.1", served(answer)), 20) as client:
        client.sendall(REQUEST)
        assert client.recv(100) == b""
    record = wait_for("failed", caplog)
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert capsys.readouterr().err == ""


def test_client_that_does_not_wait_is_no_error(served, caplog, capsys):
    gone = threading.Event()

    def answer(path: str) -> Answer:
        assert gone.wait(20)
        # More than the buffers of a connection hold.
        return 200, "text/plain", bytes(20_000_000)

    caplog.set_level(logging.DEBUG, "lsst.telemetry.pages")
    with socket.create_connection(("127.0.0.1", served(answer)), 20) as client:
        client.sendall(REQUEST)
    gone.set()
    assert wait_for("did not wait", caplog).levelno == logging.DEBUG
    assert capsys.readouterr().err == ""
