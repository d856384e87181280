"""A gunicorn worker that no client can hold up."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from typing import Any

from gunicorn.workers.sync import SyncWorker

REQUEST_TIMEOUT = 10.0
"""Seconds between two parts of a request. A visit is one thousand bytes in a single part."""

_FAREWELL = 2.0
"""Seconds for which a client that has not finished may still send what nobody reads."""
_FAREWELL_BYTES = 8 * 1024 * 1024
"""And how much of it."""


class RequestWorker(SyncWorker):
    """One request at a time, as gunicorn's own, with an end to waiting for it.

    A connection over which nothing comes would otherwise keep the worker from its visits until the master
    kills it, which is after the longest visit.
    """

    def handle(self, listener: Any, client: socket.socket, addr: Any) -> None:
        """Answer one request.

        Parameters
        ----------
        listener : socket
            Where it came in.
        client : `socket.socket`
            The connection.
        addr
            Its other end.
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
