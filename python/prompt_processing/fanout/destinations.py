"""Destinations of fanned-out visits: Knative services over HTTP, or Redis streams for KEDA's jobs."""

import asyncio
import json
import logging
import random
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple, Protocol

import aiohttp
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError

from prompt_processing.transport.redis_streams import consumer_group
from prompt_processing.transport.refusals import explain_refusal

from ..domain.addresses import split_address
from ..domain.visit import FannedOutVisit
from .metrics import FanOutMetrics

__all__ = ["Destination", "KnativeServices", "RedisConnections", "RedisStreams", "structured_event"]

_log = logging.getLogger("lsst.fanout.destinations")

_DEFAULT_RETRY_AFTER_S = 30.0
_MAX_RETRY_AFTER_S = 300.0
_UNREACHABLE_PAUSE_S = 2.0
_REDIS_CONNECTIONS = 8
_REDIS_PAUSE_S = 1.0

OnOut = Callable[[], object]
"""Called when a message has left this process for the first time."""


def _tell_nobody() -> None:
    pass


class _Answer(NamedTuple):
    status: str
    retry_after_s: float


class Destination(Protocol):
    """A destination for the visits of single detectors."""

    async def send(self, visit: FannedOutVisit, on_out: OnOut = _tell_nobody) -> str:
        """Send a visit and return its status in one word; a refusal raises nothing.

        Parameters
        ----------
        visit
            The visit.
        on_out
            Called as soon as the message has left this process, long before its answer; not called if it
            never leaves. May be called again.
        """
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


class KnativeServices:
    """Post each visit as a CloudEvent in structured mode, and wait for the answer.

    Parameters
    ----------
    urls
        URL of the service of each instrument.
    source
        Source of the CloudEvents: the topic of the visits.
    max_in_flight
        Largest number of requests that wait for an answer.
    retry
        Whether to send a visit again: after an answer of 503 and its ``Retry-After``, or after no answer and
        a pause. The next worker checks whether anything permanent was written.
    expiration_s
        Age (s) from which a visit is not sent again.
    metrics
        Metrics of the fan-out.
    """

    def __init__(
        self,
        urls: Mapping[str, str],
        source: str,
        max_in_flight: int,
        retry: bool,
        expiration_s: float,
        metrics: FanOutMetrics,
    ) -> None:
        self._urls = urls
        metrics.expect_answers(urls)
        self._source = source
        self._retry = retry
        self._expiration_s = expiration_s
        self._metrics = metrics
        self._slots = asyncio.Semaphore(max_in_flight)
        tracing = aiohttp.TraceConfig()
        tracing.on_request_chunk_sent.append(_body_is_out)
        # The answer comes after the visit has been processed; the service enforces the time limit.
        self._session = aiohttp.ClientSession(
            trace_configs=[tracing],
            connector=aiohttp.TCPConnector(limit=max_in_flight, force_close=True),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=30.0),
        )

    async def send(self, visit: FannedOutVisit, on_out: OnOut = _tell_nobody) -> str:
        """Post a visit; with ``retry``, repeat that after 503 or no answer until the visit is stale.

        Parameters
        ----------
        visit
            The visit.
        on_out
            Called when the request has been sent.

        Returns
        -------
        status
            HTTP status of the last answer, or ``unreachable``.
        """
        while True:
            answer = await self._post_once(visit, on_out)
            self._metrics.answers.labels(visit.instrument, answer.status).inc()
            if answer.status not in ("503", "unreachable") or not self._retry:
                return answer.status
            if visit.age(time.time()) + answer.retry_after_s > self._expiration_s:
                return answer.status
            self._metrics.retries.labels(visit.instrument).inc()
            # All detectors of a visit are refused at the same time; their retries are spread.
            await asyncio.sleep(answer.retry_after_s * random.uniform(1.0, 1.1))

    async def _post_once(self, visit: FannedOutVisit, on_out: OnOut) -> _Answer:
        body = structured_event(visit.model_dump_json(), self._source)
        headers = {"Content-Type": "application/cloudevents+json"}
        async with self._slots:
            _log.debug("Group %s detector %d: posting", visit.groupId, visit.detector)
            with self._metrics.in_flight.track_inprogress():
                try:
                    async with self._session.post(
                        self._urls[visit.instrument], data=body, headers=headers, trace_request_ctx=on_out
                    ) as response:
                        text = await response.text(errors="replace")
                        status, retry_after = str(response.status), response.headers.get("Retry-After")
                except (aiohttp.ClientError, TimeoutError) as error:
                    _log.error(
                        "Group %s detector %d: no answer from %s: %s",
                        visit.groupId,
                        visit.detector,
                        self._urls[visit.instrument],
                        error or type(error).__name__,
                    )
                    return _Answer("unreachable", _UNREACHABLE_PAUSE_S)
        _log.log(
            logging.INFO if status == "200" else logging.WARNING,
            "Group %s detector %d answered with %s%s",
            visit.groupId,
            visit.detector,
            status,
            "" if status == "200" else f": {text[:500]}",
        )
        return _Answer(status, _seconds(retry_after))

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()


@dataclass(frozen=True, slots=True)
class RedisConnections:
    """How connections to Redis are kept and repaired.

    Attributes
    ----------
    retries
        How often a command is repeated on a new connection before it fails.
    initial_delay_s, delay_cap_s
        Delay before the first repetition, and the longest delay; it doubles in between.
    health_check_interval_s
        A connection that was idle for longer is tested before its next command; 0 for no tests.
    """

    retries: int = 3
    initial_delay_s: float = 1.0
    delay_cap_s: float = 5.0
    health_check_interval_s: float = 3.0


class RedisStreams:
    """Add each visit to the stream of its instrument, and create the consumer group of its workers.

    Parameters
    ----------
    streams
        Stream of each instrument.
    host
        ``host`` or ``host:port`` of the server.
    expiration_s
        Age (s) from which a visit is not added.
    metrics
        Metrics of the fan-out.
    connections
        How connections to the server are kept and repaired.
    """

    def __init__(
        self,
        streams: Mapping[str, str],
        host: str,
        expiration_s: float,
        metrics: FanOutMetrics,
        connections: RedisConnections | None = None,
    ) -> None:
        connections = connections or RedisConnections()
        name, port = split_address(host, 6379)
        self._streams = streams
        metrics.expect_answers(streams)
        self._expiration_s = expiration_s
        self._metrics = metrics
        # The entries of a focal plane share a few connections: the default pool refuses the 101st.
        pool = redis.asyncio.BlockingConnectionPool(
            host=name,
            port=port,
            max_connections=_REDIS_CONNECTIONS,
            timeout=None,
            socket_connect_timeout=3.0,
            socket_timeout=5.0,
            health_check_interval=connections.health_check_interval_s,
            retry=Retry(
                ExponentialBackoff(cap=connections.delay_cap_s, base=connections.initial_delay_s),
                connections.retries,
            ),
        )
        self._client = redis.asyncio.Redis.from_pool(pool)

    async def send(self, visit: FannedOutVisit, on_out: OnOut = _tell_nobody) -> str:
        """Add an entry; repeat that while Redis does not answer, until the visit is stale.

        An entry whose acknowledgement was lost is added twice; the workers prevent a second result.

        Parameters
        ----------
        visit
            The visit.
        on_out
            Called when Redis has accepted it.

        Returns
        -------
        status
            ``accepted`` or ``unreachable``.
        """
        entry: dict[Any, Any] = dict(visit.to_stream_entry())
        while True:
            try:
                await self._add(visit.instrument, entry)
                _log.debug("Group %s detector %d: added", visit.groupId, visit.detector)
                status = "accepted"
                on_out()
            except (RedisError, OSError) as error:
                _log.error(
                    "Group %s detector %d: Redis refused: %s",
                    visit.groupId,
                    visit.detector,
                    explain_refusal(error) or error,
                )
                status = "unreachable"
            self._metrics.answers.labels(visit.instrument, status).inc()
            if status == "accepted" or visit.age(time.time()) + _REDIS_PAUSE_S > self._expiration_s:
                return status
            self._metrics.retries.labels(visit.instrument).inc()
            await asyncio.sleep(_REDIS_PAUSE_S * random.uniform(1.0, 1.5))

    async def _add(self, instrument: str, entry: dict[Any, Any]) -> None:
        stream, group = self._streams[instrument], consumer_group(instrument)
        # With each entry: KEDA counts what the group has not read, and Redis may have lost its data.
        async with self._client.pipeline(transaction=False) as pipe:
            pipe.xgroup_create(stream, group, id="0", mkstream=True)
            pipe.xadd(stream, entry)
            made, added = await pipe.execute(raise_on_error=False)
        if isinstance(added, Exception):
            raise added
        if isinstance(made, Exception) and not str(made).startswith("BUSYGROUP"):
            _log.warning("Cannot create the consumer group %s of stream %s: %s", group, stream, made)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
        await self._client.connection_pool.disconnect()


def structured_event(data: str, source: str) -> str:
    """Return the body of a CloudEvent in structured mode.

    Parameters
    ----------
    data
        JSON. It is sent as a string: other workers decode the event first, and its data separately.
    source
        Attribute ``source``.
    """
    return json.dumps(
        {
            "specversion": "1.0",
            "id": str(uuid.uuid4()),
            "source": source,
            "type": "com.example.kafka",
            "datacontenttype": "application/json",
            "data": data,
        }
    )


async def _body_is_out(
    _session: aiohttp.ClientSession,
    context: SimpleNamespace,
    _parameters: aiohttp.TraceRequestChunkSentParams,
) -> None:
    context.trace_request_ctx()


def _seconds(retry_after: str | None) -> float:
    # RFC 9110 also allows a date; the services of this system send seconds.
    try:
        return min(max(float(retry_after or _DEFAULT_RETRY_AFTER_S), 0.0), _MAX_RETRY_AFTER_S)
    except ValueError:
        return _DEFAULT_RETRY_AFTER_S
