"""``prompt raws serve``: report which raw images have arrived."""

from __future__ import annotations

import click

from prompt_processing.cli.command import Command


@click.command(
    cls=Command,
    settings="prompt_processing.raw_microservice.config:MicroserviceSettings",
    examples="""
    IMAGE_BUCKET=rubin-pp KAFKA_CLUSTER=kafka:9092 BUCKET_TOPIC=notices prompt raws serve
    curl http://localhost:8080/LSSTCam/2025-06-10T08:18:28.123/0/R22_S11
    """,
    statuses={3: "the settings are unusable"},
)
def serve() -> int:
    """Report over HTTP which raw images have arrived.

    The service follows the arrival notices and checks the bucket for images whose notice it missed.
    """
    from prompt_processing.raw_microservice.process import run_microservice

    return run_microservice()
