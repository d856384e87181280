"""``prompt streams``: housekeeping of the Redis streams."""

from __future__ import annotations

import click

from prompt_processing.cli.command import Command

_STATUSES = {1: "Redis is unavailable", 3: "the settings are unusable"}
_SETTINGS = "prompt_processing.fanout.stream_settings:StreamSettings"


@click.command(
    cls=Command,
    settings=_SETTINGS,
    examples="""
    REDIS_HOST=redis:6379 prompt streams trim
    """,
    statuses=_STATUSES,
)
def trim() -> int:
    """Remove settled visits from the Redis streams, once.

    Visits that a consumer group has not read or not settled stay. Workers of this system remove their visits
    themselves; others leave them on the stream.
    """
    from prompt_processing.fanout.streams import run_trim

    return run_trim()


@click.command(
    cls=Command,
    settings=_SETTINGS,
    examples="""
    REDIS_HOST=redis:6379 METRICS_PORT=8000 prompt streams watch
    """,
    statuses={3: "the settings are unusable"},
)
def watch() -> int:
    """Serve length, lag and pending visits of the Redis streams as Prometheus metrics.

    The process runs until SIGTERM.
    """
    from prompt_processing.fanout.streams import run_exporter

    return run_exporter()
