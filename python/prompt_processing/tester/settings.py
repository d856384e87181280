"""Where the testers' Kafka, buckets and topics are."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from confluent_kafka import Producer

from prompt_processing.settings.environment import SettingsError
from prompt_processing.settings.kafka import KafkaClusterSettings, SchemaRegistrySettings
from prompt_processing.transport.kafka import make_producer
from prompt_processing.transport.s3 import make_s3_client

from .image_writer import ImageWriter
from .publish import Announcer, ArrivalNotices
from .visit import Schedule

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = [
    "ENVIRONMENT_HELP",
    "EventStreamSettings",
    "add_arguments",
    "add_pool_argument",
    "check_environment",
    "make_announcer",
    "make_image_writer",
    "make_store",
    "schedule",
]

ENVIRONMENT_HELP = """\
environment variables:
  KAFKA_CLUSTER              bootstrap servers (needed)
  NEXT_VISIT_TOPIC           topic of announcements (next-visit-topic)
  KAFKA_SCHEMA_REGISTRY_URL  announcements are Avro of a schema registered there; JSON without it
  KAFKA_SCHEMA_REGISTRY_USERNAME, KAFKA_SCHEMA_REGISTRY_PASSWORD, KAFKA_SCHEMA_REGISTRY_CA_FILE
                             credentials for the registry
  SASL_USERNAME, SASL_PASSWORD, SASL_MECHANISM, SECURITY_PROTOCOL, SSL_CA_FILE
                             credentials for Kafka; plain text without. The same with the prefix KAFKA_
                             (KAFKA_USERNAME, ..., KAFKA_CA_FILE) wins
  IMAGE_BUCKET               where raws arrive (rubin-pp-dev)
  USERS_BUCKET               where the pool of raws is (rubin-pp-dev-users)
  BUCKET_TOPIC               topic of arrival notices (prompt-processing-dev)
  S3_ENDPOINT_URL            the S3 store; AWS without it
  AWS_PROFILE, AWS_ACCESS_KEY_ID, ...
                             credentials for the store, as boto3 reads them
  LSST_DISABLE_BUCKET_VALIDATION
                             1 allows names of buckets such as tenant:bucket
"""


class EventStreamSettings(KafkaClusterSettings, SchemaRegistrySettings):
    """Where visits and images are announced."""

    next_visit_topic: str = "next-visit-topic"
    """Topic of announcements."""
    bucket_topic: str = "prompt-processing-dev"
    """Topic of arrival notices."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that all testers have."""
    parser.add_argument(
        "--image-bucket",
        default=os.environ.get("IMAGE_BUCKET") or "rubin-pp-dev",
        help="where raws arrive (default: %(default)s)",
    )
    parser.add_argument(
        "--survey", default="SURVEY", help="survey announced with each visit (default: %(default)s)"
    )
    parser.add_argument(
        "--slew",
        type=_seconds,
        default=2.0,
        help="seconds from the announcement to the opening of the shutter (default: %(default)s)",
    )
    parser.add_argument(
        "--exposure",
        type=_seconds,
        default=18.0,
        help="seconds from there to the arrival of the image, for each snap (default: %(default)s)",
    )
    parser.add_argument(
        "--publish-notices",
        action="store_true",
        default=os.environ.get("PUBLISH_BUCKET_NOTICES", "") in ("1", "true", "yes"),
        help="publish the arrival notices as well, for stores that publish none, such as moto "
        "(also: PUBLISH_BUCKET_NOTICES=1)",
    )


def add_pool_argument(parser: argparse.ArgumentParser) -> None:
    """Add the option of those that fill or use the pool of raws."""
    parser.add_argument(
        "--users-bucket",
        default=os.environ.get("USERS_BUCKET") or "rubin-pp-dev-users",
        help="where the pool is (default: %(default)s)",
    )


def check_environment(parser: argparse.ArgumentParser) -> None:
    """End with a message if the event stream's settings are missing or malformed."""
    try:
        EventStreamSettings.load()
    except SettingsError as error:
        parser.error(f"the settings are unusable: {'; '.join(str(error).splitlines())}")


def make_store() -> S3Client:
    """Make a client of the store that the environment names."""
    return make_s3_client(
        os.environ.get("S3_ENDPOINT_URL") or None,
        validate_bucket_names=os.environ.get("LSST_DISABLE_BUCKET_VALIDATION", "0") in ("", "0"),
        # Pools and images are large, and nobody waits for the answer as for an alert.
        read_timeout=60.0,
    )


def make_announcer() -> Announcer:
    """Connect to the event stream that the environment names."""
    settings = EventStreamSettings.load()
    return Announcer(_make_producer(), settings.next_visit_topic, settings.schema_registry)


def make_image_writer(options: argparse.Namespace, n_threads: int = 8) -> ImageWriter:
    """Connect an image writer to what the options and the environment name."""
    notices = None
    if options.publish_notices:
        notices = ArrivalNotices(_make_producer(), EventStreamSettings.load().bucket_topic)
    return ImageWriter(make_store(), options.image_bucket, notices, n_threads)


def schedule(options: argparse.Namespace) -> Schedule:
    """Return how long the options say that a visit takes."""
    return Schedule(options.slew, options.exposure)


def _make_producer() -> Producer:
    # A notice that waits for company is a notice that comes late.
    return make_producer(EventStreamSettings.load().kafka, linger_ms=0)


def _seconds(text: str) -> float:
    value = float(text)
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds")
    return value
