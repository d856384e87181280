"""``prompt writer``: register the workers' outputs in the central repository."""

from __future__ import annotations

import click

from prompt_processing.cli.command import Command


@click.command(
    cls=Command,
    settings="prompt_processing.butler_writer.config:WriterSettings",
    examples="""
    BUTLER_REPOSITORY=s3://bucket/repo KAFKA_CLUSTER=kafka:9092 ... prompt writer
    """,
    statuses={1: "Kafka is unavailable; a new process may succeed", 3: "the settings are unusable"},
)
def main() -> int:
    """Register the workers' outputs in the central Butler repository, up to 500 messages at a time.

    Workers with USE_KAFKA_BUTLER_WRITER=1 copy files and publish a message; this process registers the
    files. It runs until SIGTERM; several may run at once.
    """
    from prompt_processing.butler_writer.process import run_writer

    return run_writer()
