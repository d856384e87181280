"""Apicurio Registry: schemas of Kafka messages behind an API compatible with Confluent's, kept in memory."""

from __future__ import annotations

from typing import ClassVar

import requests
from pydantic import Field

from .server import ServerCommand
from .service import HOST, Service, free_port
from .software import Software

__all__ = ["SchemaRegistryServer"]


class SchemaRegistryServer(Service):
    """A schema registry that forgets everything when it stops.

    Attributes
    ----------
    port : `int`
        Of HTTP.
    """

    name: ClassVar[str] = "schema-registry"

    port: int = Field(default_factory=free_port)

    @property
    def url(self) -> str:
        """Base URL of the API that is compatible with Confluent's."""
        return f"http://{HOST}:{self.port}/apis/ccompat/v7"

    def prepare(self, software: Software) -> None:
        """Fetch it."""
        software.apicurio()

    def command(self, software: Software) -> ServerCommand:
        """Tell how to start it."""
        return ServerCommand(
            [
                str(software.java().path),
                "-Xmx300m",
                "-XX:TieredStopAtLevel=1",
                f"-Dquarkus.http.host={HOST}",
                f"-Dquarkus.http.port={self.port}",
                "-jar",
                str(software.apicurio()),
            ],
            self.folder,
        )

    def ready(self) -> bool:
        """Tell whether it answers."""
        try:
            return requests.get(f"{self.url}/subjects", timeout=2.0).ok
        except requests.RequestException:
            return False

    def environment(self) -> dict[str, str]:
        """Return the settings of clients."""
        return {"KAFKA_SCHEMA_REGISTRY_URL": self.url}

    def address(self) -> str:
        """Return where it is."""
        return self.url
