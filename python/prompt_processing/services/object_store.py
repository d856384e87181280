"""versitygw: an S3 store on a folder, which publishes a notice of each new object to Kafka."""

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
    kafka : `str`
        Where it publishes; the cluster and `NOTICES_TOPIC` must be there before it starts.
    port : `int`
        Where it listens.
    access_key, secret_key : `str`
        Credentials.
    """

    name: ClassVar[str] = "object-store"

    kafka: str
    port: int = Field(default_factory=free_port)
    access_key: str = "prompt"
    secret_key: str = Field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    @property
    def access_log(self) -> Path:
        """File with one line a request, in the format of S3's own access logs."""
        return self.folder / "access.log"

    @property
    def url(self) -> str:
        """Endpoint."""
        return f"http://{HOST}:{self.port}"

    def client(self) -> S3Client:
        """Make a client."""
        return make_s3_client(self.url, credentials=(self.access_key, self.secret_key))

    def prepare(self, software: Software) -> None:
        """Find it, and make its folder."""
        software.versitygw()
        (self.folder / "buckets").mkdir(exist_ok=True)

    def command(self, software: Software) -> ServerCommand:
        """Tell how to start it."""
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
        """Tell whether it answers."""
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
        """Return where it is."""
        return self.url
