"""Settings of the testers: Kafka, buckets and topics."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from confluent_kafka import Producer

from prompt_processing.settings.kafka import KafkaClusterSettings, SchemaRegistrySettings
from prompt_processing.transport.kafka import make_producer
from prompt_processing.transport.s3 import make_s3_client, split_bucket

from .image_writer import ImageWriter
from .publish import Announcer, ArrivalNotices
from .visit import Schedule

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = [
    "EventStreamSettings",
    "TesterOptions",
    "make_announcer",
    "make_image_writer",
    "open_bucket",
]


class EventStreamSettings(KafkaClusterSettings, SchemaRegistrySettings):
    """Event stream on which visits and images are announced."""

    next_visit_topic: str = "next-visit-topic"
    """Topic of announcements."""
    bucket_topic: str = "prompt-processing-dev"
    """Topic of arrival notices."""


@dataclass(frozen=True, slots=True)
class TesterOptions:
    """Options of all testers.

    Attributes
    ----------
    image_bucket
        Bucket in which raws arrive: its name or URI, which may name a profile.
    survey
        Survey announced with each visit.
    schedule
        Durations of the phases of a visit.
    publish_notices
        Whether to publish arrival notices too, for stores that publish none.
    """

    image_bucket: str
    survey: str = "SURVEY"
    schedule: Schedule = field(default_factory=Schedule)
    publish_notices: bool = False


def open_bucket(address: str) -> tuple[S3Client, str]:
    """Return a client of the store that the environment names, and the name of a bucket in it.

    Parameters
    ----------
    address
        ``bucket``, ``s3://bucket`` or ``s3://profile@bucket``.
    """
    profile, name = split_bucket(address)
    client = make_s3_client(
        os.environ.get("S3_ENDPOINT_URL") or None,
        validate_bucket_names=os.environ.get("LSST_DISABLE_BUCKET_VALIDATION", "0") in ("", "0"),
        profile=profile,
        # Pools and images are large, and no alert waits for the response.
        read_timeout=60.0,
    )
    return client, name


def make_announcer() -> Announcer:
    """Connect to the event stream that the environment names."""
    settings = EventStreamSettings.load()
    return Announcer(_make_producer(), settings.next_visit_topic, settings.schema_registry)


def make_image_writer(options: TesterOptions, n_threads: int = 8) -> ImageWriter:
    """Connect an image writer to the store and cluster that the options and the environment name."""
    notices = None
    if options.publish_notices:
        notices = ArrivalNotices(_make_producer(), EventStreamSettings.load().bucket_topic)
    return ImageWriter(*open_bucket(options.image_bucket), notices, n_threads)


def _make_producer() -> Producer:
    # Batching would delay notices.
    return make_producer(EventStreamSettings.load().kafka, linger_ms=0)
