"""A central repository like the observatory's: registry on PostgreSQL, files on S3."""

from __future__ import annotations

import dataclasses
import uuid
from dataclasses import dataclass
from pathlib import Path

import butler_world as world
import pytest

from prompt_processing.repository.central import make_central_repository
from prompt_processing.services.object_store import ObjectStore
from prompt_processing.services.postgresql import PostgreSql


@dataclass(frozen=True)
class RealCentral:
    """Locations of one test's data; ``folder`` is for `butler_world.make_settings`."""

    folder: Path
    uri: str
    database: str
    bucket: str


def use_environment(monkeypatch: pytest.MonkeyPatch, *services: ObjectStore | PostgreSql) -> None:
    """Set the environment variables of the servers for this process's libraries."""
    for service in services:
        for name, value in service.environment().items():
            monkeypatch.setenv(name, value)


def make_real_central(
    folder: Path,
    postgresql: PostgreSql,
    object_store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
    detectors: tuple[int, ...] = (world.DETECTOR,),
) -> RealCentral:
    """Make the repository, and an APDB beside it."""
    use_environment(monkeypatch, postgresql, object_store)
    name = f"central-{uuid.uuid4().hex[:10]}"
    object_store.client().create_bucket(Bucket=name)
    camera = world.small_camera()
    content = dataclasses.replace(world.small_content(camera, detectors))
    paths = world.write_pipelines(folder / "pipelines")
    uri = str(folder / "central")
    database = postgresql.create_database(name)
    make_central_repository(
        uri,
        camera,
        content,
        pipelines=list(paths.values()),
        database=database,
        datastore=f"s3://{name}/central",
    )
    world.make_apdb(folder)
    return RealCentral(folder, uri, name, name)
