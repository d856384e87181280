"""A gunicorn worker that no client can block."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from typing import Any

from gunicorn.workers.sync import SyncWorker

REQUEST_TIMEOUT = 10.0
"""Seconds allowed between two parts of a request. A visit is one thousand bytes in a single part."""

_FAREWELL = 2.0
"""Seconds for which a client may go on sending a request that has been answered already."""
_FAREWELL_BYTES = 8 * 1024 * 1024
"""Bytes that it may send in this time."""


class RequestWorker(SyncWorker):
    """A synchronous worker that stops waiting for a silent client.

    A silent connection would otherwise keep the worker from its visits until the master kills it, which is
    after the longest visit.
    """

    def handle(self, listener: Any, client: socket.socket, addr: Any) -> None:
        """Answer one request.

        Parameters
        ----------
        listener : socket
            The listening socket.
        client : `socket.socket`
            The connection.
        addr
            The address of the client.
        """
        client.settimeout(REQUEST_TIMEOUT)
        with client.dup() as connection:
            super().handle(listener, client, addr)
            _hang_up(connection)


def _hang_up(connection: socket.socket) -> None:
    """Let a client that is still sending read its answer.

    Closing a connection with unread bytes resets it, and the answer (such as 413) is lost with it.
    """
    with suppress(OSError):
        connection.setblocking(False)
        try:
            if not connection.recv(65536):
                return
        except BlockingIOError:
            return
        connection.shutdown(socket.SHUT_WR)
        end, received = time.monotonic() + _FAREWELL, 0
        while (left := end - time.monotonic()) > 0 and received < _FAREWELL_BYTES:
            connection.settimeout(left)
            part = connection.recv(65536)
            if not part:
                return
            received += len(part)
