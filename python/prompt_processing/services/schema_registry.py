"""Apicurio Registry: schemas of Kafka messages behind an API compatible with Confluent's, kept in memory."""

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

    def import_schema(self, subject: str, schema_id: int, schema: Any) -> None:
        """Register an Avro schema under an id of its own, as alert brokers have those of alert packets.

        The API that is compatible with Confluent's gives ids itself, so the registry's own import is used.

        Parameters
        ----------
        subject : `str`
            Name.
        schema_id : `int`
            Id that messages refer to.
        schema : `dict`
            Avro schema, complete.

        Raises
        ------
        requests.HTTPError
            Raised if the registry refuses it.
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
        """Return where it is."""
        return self.url
