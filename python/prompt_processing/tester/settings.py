"""Where the testers' Kafka, buckets and topics are."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from confluent_kafka import Producer
from pydantic import SecretStr

from prompt_processing.transport.kafka import KafkaSettings, make_producer
from prompt_processing.transport.s3 import make_s3_client
from prompt_processing.transport.schema_registry import SchemaRegistry

from .image_writer import ImageWriter
from .publish import Announcer, ArrivalNotices
from .visit import Schedule

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = [
    "ENVIRONMENT_HELP",
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
  SASL_USERNAME, SASL_PASSWORD, SASL_MECHANISM, SECURITY_PROTOCOL
                             credentials for Kafka; plain text without
  IMAGE_BUCKET               where raws arrive (rubin-pp-dev)
  USERS_BUCKET               where the pool of raws is (rubin-pp-dev-users)
  BUCKET_TOPIC               topic of arrival notices (prompt-processing-dev)
  S3_ENDPOINT_URL            the S3 store; AWS without it
  AWS_PROFILE, AWS_ACCESS_KEY_ID, ...
                             credentials for the store, as boto3 reads them
  LSST_DISABLE_BUCKET_VALIDATION
                             1 allows names of buckets such as tenant:bucket
"""


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
    """End with a message if a variable is missing without which nothing can be done."""
    if not os.environ.get("KAFKA_CLUSTER"):
        parser.error("the environment variable KAFKA_CLUSTER is not set")


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
    registry_url = os.environ.get("KAFKA_SCHEMA_REGISTRY_URL")
    return Announcer(
        _make_producer(),
        os.environ.get("NEXT_VISIT_TOPIC") or "next-visit-topic",
        SchemaRegistry(registry_url) if registry_url else None,
    )


def make_image_writer(options: argparse.Namespace, n_threads: int = 8) -> ImageWriter:
    """Connect an image writer to what the options and the environment name."""
    notices = None
    if options.publish_notices:
        notices = ArrivalNotices(_make_producer(), os.environ.get("BUCKET_TOPIC") or "prompt-processing-dev")
    return ImageWriter(make_store(), options.image_bucket, notices, n_threads)


def schedule(options: argparse.Namespace) -> Schedule:
    """Return how long the options say that a visit takes."""
    return Schedule(options.slew, options.exposure)


def _make_producer() -> Producer:
    username, password = os.environ.get("SASL_USERNAME"), os.environ.get("SASL_PASSWORD")
    kafka = KafkaSettings(
        bootstrap_servers=os.environ["KAFKA_CLUSTER"],
        username=SecretStr(username) if username else None,
        password=SecretStr(password) if password else None,
        mechanism=os.environ.get("SASL_MECHANISM") or "SCRAM-SHA-512",
        security_protocol=os.environ.get("SECURITY_PROTOCOL") or None,
    )
    # A notice that waits for company is a notice that comes late.
    return make_producer(kafka, linger_ms=0)


def _seconds(text: str) -> float:
    value = float(text)
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds")
    return value
