"""``prompt fanout``: read one message per visit, send one per detector."""

from __future__ import annotations

import click

from prompt_processing.cli.command import Command


@click.command(
    cls=Command,
    settings="prompt_processing.fanout.config:FanOutSettings",
    examples="""
    PLATFORM=keda REDIS_HOST=redis SUPPORTED_INSTRUMENTS="LSSTCam LATISS" ... prompt fanout
    """,
    statuses={1: "Kafka is unavailable; a new process may succeed", 3: "the settings are unusable"},
)
def main() -> int:
    """Send each announced visit to the workers, once for every active detector.

    Announcements (next_visit) are read from Kafka. Workers receive them over HTTP (knative) or from Redis
    streams (keda). The process runs until SIGTERM, then waits for outstanding responses.
    """
    from prompt_processing.fanout.process import run_fan_out

    return run_fan_out()
