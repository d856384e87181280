"""Kafka and S3 in separate processes, as the demo starts them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from mypy_boto3_s3 import S3Client

from prompt_processing.demo.processes import Processes

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "demo",
    "AWS_SECRET_ACCESS_KEY": "demo-secret",
    "AWS_DEFAULT_REGION": "us-east-1",
}
NEXT_VISIT_TOPIC = "next-visit-topic"
BUCKET_TOPIC = "prompt-processing-dev"


@dataclass(frozen=True)
class Embedded:
    """A broker, a store with empty buckets, and a folder for further processes."""

    broker: str
    endpoint: str
    processes: Processes

    @property
    def environment(self) -> dict[str, str]:
        return {
            **CREDENTIALS,
            "KAFKA_CLUSTER": self.broker,
            "NEXT_VISIT_TOPIC": NEXT_VISIT_TOPIC,
            "BUCKET_TOPIC": BUCKET_TOPIC,
            "S3_ENDPOINT_URL": self.endpoint,
            "IMAGE_BUCKET": "rubin-pp-dev",
            "USERS_BUCKET": "rubin-pp-dev-users",
        }

    @property
    def s3(self) -> S3Client:
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            region_name=CREDENTIALS["AWS_DEFAULT_REGION"],
        )


@pytest.fixture
def embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Embedded]:
    for name in ("AWS_PROFILE", "KAFKA_SCHEMA_REGISTRY_URL", "SECURITY_PROTOCOL", "SASL_USERNAME"):
        monkeypatch.delenv(name, raising=False)
    with Processes(tmp_path / "logs", CREDENTIALS) as processes:
        kafka = processes.start(
            "kafka",
            [
                "python",
                "-m",
                "prompt_processing.embedded_broker",
                f"--folder={tmp_path / 'kafka'}",
                NEXT_VISIT_TOPIC,
                BUCKET_TOPIC,
            ],
            reports_ready=True,
        )
        store = processes.start(
            "s3", ["python", "-m", "prompt_processing.demo.object_store"], reports_ready=True
        )
        services = Embedded(kafka.wait_ready(60), store.wait_ready(60), processes)
        for bucket in ("rubin-pp-dev", "rubin-pp-dev-users"):
            services.s3.create_bucket(Bucket=bucket)
        yield services
