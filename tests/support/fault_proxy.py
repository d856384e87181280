"""A TCP proxy that can be slow, silent, or closed."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress

_CHUNK = 1 << 16


class Proxy:
    """Forward connections to a server on this machine.

    Attributes
    ----------
    delay : `float`
        Seconds of delay before each part of an answer is forwarded.
    refusing : `bool`
        Whether new connections are closed at once.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.delay = 0.0
        self.refusing = False
        self._flowing = threading.Event()
        self._flowing.set()
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def stall(self) -> None:
        """Forward nothing, but keep the connections open, like a network that drops all packets."""
        self._flowing.clear()

    def flow(self) -> None:
        """Forward data again."""
        self.refusing = False
        self.delay = 0.0
        self._flowing.set()

    def cut(self) -> None:
        """Close all connections."""
        with self._lock:
            sockets, self._sockets = self._sockets, set()
        for one in sockets:
            _close(one)

    def close(self) -> None:
        """Stop the proxy."""
        self._listener.close()
        self.flow()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refusing:
                _close(client)
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._target), timeout=5.0)
            except OSError:
                _close(client)
                continue
            server.settimeout(None)
            with self._lock:
                self._sockets |= {client, server}
            for source, sink, is_answer in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._pump, args=(source, sink, is_answer), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                if is_answer and self.delay:
                    time.sleep(self.delay)
                self._flowing.wait()
                sink.sendall(data)
        for one in (source, sink):
            _close(one)
        with self._lock:
            self._sockets -= {source, sink}


def _close(one: socket.socket) -> None:
    # Both directions, to wake a thread that reads from it.
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
