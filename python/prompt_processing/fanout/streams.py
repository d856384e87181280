"""Housekeeping of the Redis streams: remove what is settled, and export what is waiting."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import redis
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from redis.exceptions import RedisError, ResponseError

from prompt_processing.settings.environment import SettingsError
from prompt_processing.settings.exit_codes import ExitCode
from prompt_processing.settings.service_loop import asked_to_stop
from prompt_processing.telemetry.health import Health, Heartbeat
from prompt_processing.telemetry.logs import LogContext, configure_logging
from prompt_processing.telemetry.pages import Pages, PageServer
from prompt_processing.transport.redis_streams import TRIM
from prompt_processing.transport.refusals import explain_refusal

from ..domain.addresses import split_address
from .stream_settings import StreamSettings

__all__ = [
    "StreamMetrics",
    "StreamStatus",
    "look_at_streams",
    "run_exporter",
    "run_trim",
    "trim_streams",
]

_log = logging.getLogger("lsst.fanout.streams")


@dataclass(frozen=True)
class StreamStatus:
    """A consumer group of a stream.

    Attributes
    ----------
    stream, group
        Names; the group is empty for a stream without one.
    length
        Entries of the stream, settled ones included.
    pending
        Entries that the group has read and not acknowledged.
    lag
        Entries that the group has not read; `None` if Redis does not know, and KEDA starts no workers then.
    """

    stream: str
    group: str
    length: int
    pending: int
    lag: int | None


def trim_streams(client: redis.Redis, pattern: str) -> dict[str, int]:
    """Remove the entries that all groups of a stream have read and acknowledged.

    Only the oldest entries go, up to the first that is still of interest. A stream without a group stays as
    it is.

    Parameters
    ----------
    client
        Of the server; it decodes responses.
    pattern
        Names of streams, as a pattern of Redis.

    Returns
    -------
    trimmed
        Number of removed entries by stream.

    Raises
    ------
    redis.exceptions.RedisError
        If the server is unavailable.
    """
    script = f"{TRIM}\nreturn trimmed"
    return {stream: int(_any(client.eval(script, 1, stream))) for stream in _names(client, pattern)}


def look_at_streams(client: redis.Redis, pattern: str) -> list[StreamStatus]:
    """Return what is on the streams, group by group.

    Parameters
    ----------
    client, pattern
        As for `trim_streams`.

    Raises
    ------
    redis.exceptions.RedisError
        If the server is unavailable.
    """
    found = []
    for stream in _names(client, pattern):
        try:
            length, groups = int(_any(client.xlen(stream))), _any(client.xinfo_groups(stream))
        except ResponseError as error:
            # Removed a moment ago.
            if "no such key" in str(error):
                continue
            raise
        for group in groups:
            found.append(StreamStatus(stream, group["name"], length, group["pending"], group["lag"]))
        if not groups:
            found.append(StreamStatus(stream, "", length, 0, length))
    return found


class StreamMetrics:
    """Gauges of the streams, for Prometheus."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._length = Gauge(
            "prompt_stream_length", "Entries of a stream", ["stream"], registry=self.registry
        )
        self._pending = Gauge(
            "prompt_stream_pending",
            "Visits that a consumer group has read and not settled",
            ["stream", "group"],
            registry=self.registry,
        )
        self._lag = Gauge(
            "prompt_stream_lag",
            "Visits that a consumer group has not read; not a number if Redis does not know",
            ["stream", "group"],
            registry=self.registry,
        )

    def update(self, statuses: list[StreamStatus]) -> None:
        """Replace all values.

        Parameters
        ----------
        statuses
            Current streams and groups; those that no longer exist are removed from the metrics.
        """
        for gauge in (self._length, self._pending, self._lag):
            gauge.clear()
        for one in statuses:
            self._length.labels(one.stream).set(one.length)
            self._pending.labels(one.stream, one.group).set(one.pending)
            self._lag.labels(one.stream, one.group).set(float("nan") if one.lag is None else one.lag)


def run_trim() -> int:
    """Trim the streams once, with the environment's settings; returns the exit status."""
    settings = _load()
    if settings is None:
        return ExitCode.UNUSABLE_SETTINGS
    try:
        with _client(settings) as client:
            for stream, trimmed in trim_streams(client, settings.stream_pattern).items():
                _log.info("Removed %d settled entries of %s", trimmed, stream)
    except RedisError as error:
        _log.error("Cannot trim the streams of %s: %s", settings.redis_host, explain_refusal(error) or error)
        return ExitCode.FAILED
    return ExitCode.DONE


def run_exporter() -> int:
    """Serve metrics of the streams until the process is asked to stop; returns the exit status."""
    settings = _load()
    if settings is None:
        return ExitCode.UNUSABLE_SETTINGS
    stop = asked_to_stop()
    metrics = StreamMetrics()
    heartbeat = Heartbeat(settings.stream_interval + 60.0)
    answers = [False]
    health = Health(live={"loop": heartbeat.beats}, ready={"redis": lambda: answers[0]})
    server = PageServer(settings.metrics_port, Pages(health, lambda: generate_latest(metrics.registry)))
    server.start()
    try:
        with _client(settings) as client:
            while True:
                heartbeat.beat()
                try:
                    metrics.update(look_at_streams(client, settings.stream_pattern))
                    answers[0] = True
                except RedisError as error:
                    # Old values would look like a quiet night.
                    metrics.update([])
                    answers[0] = False
                    _log.warning(
                        "Cannot read the streams of %s: %s",
                        settings.redis_host,
                        explain_refusal(error) or error,
                    )
                if stop.wait(settings.stream_interval):
                    return ExitCode.DONE
    finally:
        server.stop()


def _load() -> StreamSettings | None:
    configure_logging(LogContext())
    try:
        settings = StreamSettings.load()
        split_address(settings.redis_host, 6379)
    except SettingsError as error:
        _log.critical("%s", error)
        return None
    except ValueError as error:
        _log.critical("REDIS_HOST is %s", error)
        return None
    return settings


def _client(settings: StreamSettings) -> redis.Redis:
    name, port = split_address(settings.redis_host, 6379)
    return redis.Redis(
        host=name, port=port, decode_responses=True, socket_connect_timeout=3.0, socket_timeout=10.0
    )


def _names(client: redis.Redis, pattern: str) -> Iterator[str]:
    yield from sorted(client.scan_iter(pattern, _type="stream"))


def _any(answer: Any) -> Any:
    # The client's types cover its asynchronous twin as well.
    return answer
