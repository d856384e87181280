"""Apicurio Registry: in-memory schema registry with an API compatible with Confluent's."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from typing import Any, ClassVar

import requests
from pydantic import Field

from .server import ServerCommand
from .service import HOST, Service, free_port
from .software import Software

__all__ = ["SchemaRegistryServer"]


class SchemaRegistryServer(Service):
    """Schema registry that loses its content when it stops.

    Attributes
    ----------
    port
        Port for HTTP.
    """

    name: ClassVar[str] = "schema-registry"

    port: int = Field(default_factory=free_port)

    @property
    def url(self) -> str:
        """Base URL of the API that is compatible with Confluent's."""
        return f"http://{HOST}:{self.port}/apis/ccompat/v7"

    def prepare(self, software: Software) -> None:
        """Fetch the registry."""
        software.apicurio()

    def command(self, software: Software) -> ServerCommand:
        """Return the command that starts the server."""
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
        """Return whether the server responds."""
        try:
            return requests.get(f"{self.url}/subjects", timeout=2.0).ok
        except requests.RequestException:
            return False

    def import_schema(self, subject: str, schema_id: int, schema: Any) -> None:
        """Register an Avro schema under a chosen id, as alert brokers do for alert packets.

        Confluent's API assigns ids itself, so this uses Apicurio's own import.

        Parameters
        ----------
        subject
            Name of the subject.
        schema_id
            Id that messages carry.
        schema
            Complete Avro schema.

        Raises
        ------
        requests.HTTPError
            Raised if the registry rejects the schema.
        """
        text = json.dumps(schema)
        digest = hashlib.sha256(text.encode()).hexdigest()
        content = {
            "contentId": schema_id,
            "contentHash": digest,
            "canonicalHash": digest,
            "artifactType": "AVRO",
        }
        version = {
            "globalId": schema_id,
            "contentId": schema_id,
            "artifactId": subject,
            "artifactType": "AVRO",
            "version": "1",
            "versionId": 1,
            "isLatest": True,
            "state": "ENABLED",
            "createdBy": "",
            "createdOn": 0,
        }
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as files:
            files.writestr("schema.Manifest.json", json.dumps({"exportVersion": "1.0"}))
            files.writestr(f"content/{digest}.Content.json", json.dumps(content))
            files.writestr(f"content/{digest}.Content.data", text)
            files.writestr(
                f"groups/default/artifacts/{subject}/versions/1.ArtifactVersion.json", json.dumps(version)
            )
        requests.post(
            f"http://{HOST}:{self.port}/apis/registry/v2/admin/import",
            data=archive.getvalue(),
            headers={
                "Content-Type": "application/zip",
                "X-Registry-Preserve-GlobalId": "true",
                "X-Registry-Preserve-ContentId": "true",
            },
            timeout=20.0,
        ).raise_for_status()

    def environment(self) -> dict[str, str]:
        """Return the settings of clients."""
        return {"KAFKA_SCHEMA_REGISTRY_URL": self.url}

    def address(self) -> str:
        """Return the address."""
        return self.url
