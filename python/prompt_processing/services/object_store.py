"""versitygw: S3 store on a folder, which publishes a notice of each new object to Kafka."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from prompt_processing.transport.s3 import make_s3_client

from .kafka import NOTICES_TOPIC
from .server import ServerCommand
from .service import HOST, Service, free_port, listens
from .software import Software

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["ObjectStore"]

_REGION = "us-east-1"


class ObjectStore(Service):
    """An S3 store.

    Attributes
    ----------
    kafka
        Cluster to publish to. It must run and have `NOTICES_TOPIC` before the store starts.
    port
        Port that the server listens on.
    access_key, secret_key
        Credentials.
    """

    name: ClassVar[str] = "object-store"

    kafka: str
    port: int = Field(default_factory=free_port)
    access_key: str = "prompt"
    secret_key: str = Field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    @property
    def access_log(self) -> Path:
        """File with one line per request, in the format of S3's access logs."""
        return self.folder / "access.log"

    @property
    def url(self) -> str:
        """Endpoint of the store."""
        return f"http://{HOST}:{self.port}"

    def client(self) -> S3Client:
        """Create a client."""
        return make_s3_client(self.url, credentials=(self.access_key, self.secret_key))

    def prepare(self, software: Software) -> None:
        """Find the program, and create its folder."""
        software.versitygw()
        (self.folder / "buckets").mkdir(exist_ok=True)

    def command(self, software: Software) -> ServerCommand:
        """Return the command that starts the server."""
        return ServerCommand(
            [
                str(software.versitygw().path),
                "--port",
                f"{HOST}:{self.port}",
                "--region",
                _REGION,
                "--access-log",
                str(self.access_log),
                "--event-kafka-url",
                self.kafka,
                "--event-kafka-topic",
                NOTICES_TOPIC,
                "posix",
                str(self.folder / "buckets"),
            ],
            self.folder,
            {"ROOT_ACCESS_KEY": self.access_key, "ROOT_SECRET_KEY": self.secret_key},
        )

    def ready(self) -> bool:
        """Return whether the server responds."""
        return listens(self.port)

    def environment(self) -> dict[str, str]:
        """Return the settings of clients."""
        return {
            "S3_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": _REGION,
        }

    def address(self) -> str:
        """Return the address."""
        return self.url
