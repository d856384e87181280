"""The Redis stream of an instrument's fanned-out visits."""

from __future__ import annotations

import logging
import os
import socket
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from prompt_processing.domain.addresses import split_address
from prompt_processing.domain.errors import PromptError
from prompt_processing.telemetry.handover import in_this_context
from prompt_processing.transport.redis_streams import TRIM
from prompt_processing.transport.refusals import explain_refusal

_log = logging.getLogger("lsst.activator.storage.visit_stream")
_T = TypeVar("_T")

_ONLY_IF_OURS = """
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)
if not pending[1] or pending[1][2] ~= ARGV[2] then return 0 end
"""

_ACKNOWLEDGE = f"""{_ONLY_IF_OURS}
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
{TRIM}
return 1
"""

_SET_IDLE = f"""{_ONLY_IF_OURS}
redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3], 'IDLE', ARGV[4], 'RETRYCOUNT', ARGV[5], 'JUSTID')
return 1
"""

_FIRST = "0-0"

_LEAVE = """
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2])
if not pending[1] then redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2]) end
"""
"""A consumer that still holds a visit stays, because deleting it would lose the visit."""


class StreamUnavailableError(PromptError):
    """Redis does not answer."""


@dataclass(frozen=True)
class StreamEntry:
    """A visit on the stream.

    Attributes
    ----------
    id : `str`
        Id of the entry in Redis.
    fields : mapping
        Fields written by the fan-out.
    deliveries : `int`
        Number of workers that have received it, including this one.
    """

    id: str
    fields: Mapping[str, str]
    deliveries: int


class VisitStream:
    """Take visits from a stream; each stays there until it is acknowledged.

    A worker refreshes its claim while it processes a visit. Another worker takes over a visit whose claim
    is not refreshed.

    Parameters
    ----------
    host : `str`
        ``host`` or ``host:port``.
    stream, group : `str`
        Stream and consumer group.
    claim_idle : `float`
        Seconds without a refresh after which a visit is taken over.
    """

    def __init__(self, host: str, stream: str, group: str, claim_idle: float) -> None:
        name, port = split_address(host, 6379)
        self._redis = redis.Redis(
            host=name,
            port=port,
            decode_responses=True,
            socket_connect_timeout=3.0,
            socket_timeout=10.0,
            # The caller decides whether and when to retry.
            retry=Retry(NoBackoff(), 0),
        )
        self._stream = stream
        self._group = group
        self._claim_idle = claim_idle
        self.answers = False
        """Whether Redis answered the last command."""
        self._consumer = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"

    def __str__(self) -> str:
        return self._stream

    def open(self) -> None:
        """Create the stream and its group, unless they exist.

        Raises
        ------
        StreamUnavailableError
            Raised if Redis does not answer.
        """

        def create() -> None:
            try:
                # From the beginning: KEDA starts workers because visits are waiting already.
                self._redis.xgroup_create(self._stream, self._group, id="0", mkstream=True)
            except ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):
                    raise

        self._ask(create)

    def claim(self) -> StreamEntry | None:
        """Take over a visit whose claim was not refreshed, if there is one.

        Raises
        ------
        StreamUnavailableError
            Raised if Redis does not answer.
        """

        def claim() -> StreamEntry | None:
            begin = _FIRST
            # One command looks at ten claims only, and the first ten may be those of busy workers.
            while True:
                answer: Any = self._redis.xautoclaim(
                    self._stream, self._group, self._consumer, int(self._claim_idle * 1000), begin, count=1
                )
                for identifier, fields in answer[1]:
                    return StreamEntry(identifier, fields or {}, self._deliveries(identifier))
                begin = answer[0]
                if begin == _FIRST:
                    return None

        return self._ask(claim)

    def read(self, seconds: float) -> StreamEntry | None:
        """Wait for a new visit.

        Parameters
        ----------
        seconds : `float`
            How long to wait; less than the timeout of the connection.

        Raises
        ------
        StreamUnavailableError
            Raised if Redis does not answer.
        """

        def read() -> StreamEntry | None:
            answer: Any = self._redis.xreadgroup(
                self._group, self._consumer, {self._stream: ">"}, count=1, block=max(1, int(seconds * 1000))
            )
            for _, entries in answer or []:
                for identifier, fields in entries:
                    return StreamEntry(identifier, fields, 1)
            return None

        return self._ask(read)

    @contextmanager
    def held(self, entry: StreamEntry) -> Iterator[None]:
        """Refresh the claim on a visit during a block.

        Parameters
        ----------
        entry : `StreamEntry`
            The visit.
        """
        done = threading.Event()

        def beat() -> None:
            while not done.wait(self._claim_idle / 6):
                try:
                    if not self._set_idle(entry, 0.0, entry.deliveries):
                        _log.warning("Visit %s was taken over by another worker.", entry.id)
                        return
                except StreamUnavailableError as error:
                    # While Redis is down, no other worker can take the visit over.
                    _log.warning("Cannot refresh the claim in Redis: %s", error.reason)

        thread = threading.Thread(target=in_this_context(beat), name="visit-stream", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join(self._claim_idle)

    def acknowledge(self, entry: StreamEntry) -> bool:
        """Remove a visit from the stream for good.

        Parameters
        ----------
        entry : `StreamEntry`
            The visit.

        Returns
        -------
        acknowledged : `bool`
            False if another worker has taken it over; that worker reports its outcome.

        Raises
        ------
        StreamUnavailableError
            Raised if Redis does not answer.
        """
        return bool(self._run(_ACKNOWLEDGE, self._consumer, entry.id))

    def give_back(self, entry: StreamEntry, after: float, *, tried: bool) -> bool:
        """Return a visit to the stream, for any worker including this one.

        Parameters
        ----------
        entry : `StreamEntry`
            The visit.
        after : `float`
            Seconds from now until it may be taken; at most ``claim_idle``.
        tried : `bool`
            Whether this delivery counts as an attempt.

        Returns
        -------
        given : `bool`
            False if another worker has taken it over.

        Raises
        ------
        StreamUnavailableError
            Raised if Redis does not answer.
        """
        deliveries = entry.deliveries if tried else entry.deliveries - 1
        return self._set_idle(entry, max(0.0, self._claim_idle - after), deliveries)

    def close(self) -> None:
        """Leave the group and disconnect."""
        try:
            self._run(_LEAVE, self._consumer)
        except StreamUnavailableError as error:
            _log.info("Cannot leave the stream: %s", error.reason)
        self._redis.close()

    def _deliveries(self, identifier: str) -> int:
        pending: Any = self._redis.xpending_range(self._stream, self._group, identifier, identifier, 1)
        return int(pending[0]["times_delivered"]) if pending else 1

    def _set_idle(self, entry: StreamEntry, seconds: float, deliveries: int) -> bool:
        idle_ms = str(int(seconds * 1000))
        return bool(self._run(_SET_IDLE, self._consumer, entry.id, idle_ms, str(deliveries)))

    def _run(self, script: str, *arguments: str) -> Any:
        # A script, so that no worker can take the visit over between the check of its owner and the change.
        return self._ask(lambda: self._redis.eval(script, 1, self._stream, self._group, *arguments))

    def _ask(self, question: Callable[[], _T]) -> _T:
        try:
            answer = question()
            self.answers = True
            return answer
        except RedisError as error:
            self.answers = False
            if "NOGROUP" in str(error):
                # Redis has restarted without its data: waiting visits are lost, new ones are not.
                _log.error("The stream %s has lost its consumer group; it is created again.", self._stream)
                self.open()
            why = explain_refusal(error) or error
            raise StreamUnavailableError(f"Redis, stream {self._stream}: {why}") from error
