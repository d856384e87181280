"""Servers, a central repository, an APDB and the settings of the processes that use them."""

from __future__ import annotations

import os
import secrets
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from lsst.dax.apdb.sql import ApdbSql
from psycopg.sql import SQL, Identifier, Literal

from prompt_processing.butler.types import use_butler_types
from prompt_processing.domain.clock import night
from prompt_processing.initializer.config import InitializerSettings
from prompt_processing.initializer.night import initialize_night
from prompt_processing.instruments.camera import Camera, load_camera
from prompt_processing.repository.central import make_central_repository
from prompt_processing.services.kafka import NOTICES_TOPIC, Kafka
from prompt_processing.services.object_store import ObjectStore
from prompt_processing.services.postgresql import PostgreSql
from prompt_processing.services.redis_server import RedisServer
from prompt_processing.services.service import HOST
from prompt_processing.services.stack import ServiceStack
from prompt_processing.settings.worker import Settings

from .content import INSTRUMENT, SKY_MAP, make_content
from .statements import StatementCounter
from .tasks import write_pipelines

WORKERS, WRITER = "workers", "writer"
"""Database users: what each asks for is counted apart."""


def start_services(folder: Path) -> ServiceStack:
    """Start all servers that the benchmark needs; the caller stops them."""
    stack = ServiceStack(folder)
    try:
        stack.start(Kafka, PostgreSql, RedisServer, ObjectStore)
    # Ctrl-C included: servers that are up already would go on alone.
    except BaseException:
        stack.stop()
        raise
    return stack


@dataclass(frozen=True)
class World:
    """One central repository with everything around it.

    Attributes
    ----------
    folder : `~pathlib.Path`
        Of this repository's files.
    stack : `ServiceStack`
        Running servers.
    name : `str`
        Of the database, the buckets and the topics.
    camera : `Camera`
        At full size: regions are the real ones.
    detectors : `tuple` [`int`, ...]
        That take part.
    pipelines : `dict` [`str`, `str`]
        Paths by stem.
    """

    folder: Path
    stack: ServiceStack
    name: str
    camera: Camera
    detectors: tuple[int, ...]
    pipelines: dict[str, str]

    @classmethod
    def make(cls, folder: Path, stack: ServiceStack, detectors: Sequence[int]) -> World:
        """Make the repository and the APDB, and what a night needs in them."""
        use_butler_types()
        name = f"load-{uuid.uuid4().hex[:8]}"
        world = cls(
            folder,
            stack,
            name,
            load_camera(INSTRUMENT),
            tuple(detectors),
            write_pipelines(folder / "pipelines"),
        )
        os.environ.update(stack.environment())
        postgresql = stack.service(PostgreSql)
        database = postgresql.create_database(name)
        store = stack.service(ObjectStore).client()
        for bucket in (world.image_bucket, world.datastore_bucket):
            store.create_bucket(Bucket=bucket)
        make_central_repository(
            world.central,
            world.camera,
            make_content(folder / "content", world.camera, detectors),
            pipelines=list(world.pipelines.values()),
            # Without a user: each process finds its own in its file of credentials.
            database=database.replace(f"{postgresql.username}@", ""),
            datastore=f"s3://{world.datastore_bucket}/central",
        )
        world._make_roles(postgresql)
        ApdbSql.init_database(
            db_url=f"{database.replace(f'{postgresql.username}@', '')}", namespace="apdb"
        ).save(world.apdb)
        world._initialize_night()
        return world

    @property
    def central(self) -> str:
        """URI of the repository."""
        return str(self.folder / "central")

    @property
    def apdb(self) -> str:
        """URI of the APDB's configuration."""
        return str(self.folder / "apdb.yaml")

    @property
    def image_bucket(self) -> str:
        """Where raws arrive."""
        return f"{self.name}-raws"

    @property
    def datastore_bucket(self) -> str:
        """Where the repository's files are."""
        return f"{self.name}-datastore"

    @property
    def stream(self) -> str:
        """Redis stream of the visits."""
        return f"instrument:{self.name}"

    @property
    def writer_topic(self) -> str:
        """Topic that the writer service reads."""
        return f"{self.name}-outputs"

    def environment(self, user: str) -> dict[str, str]:
        """Settings of a process that is a client of the servers, as one of the database's users."""
        return {
            **os.environ,
            **self.stack.environment(),
            "LSST_DB_AUTH": str(self._auth_file(user)),
            "LSST_DISABLE_BUCKET_VALIDATION": "1",
            "PYTHONPATH": str(Path(__file__).parents[1]),
            # A service has one core, here as anywhere.
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }

    def worker_environment(self, *, through_writer: bool = True) -> dict[str, str]:
        """Settings of a worker."""
        local = self.folder / "local"
        local.mkdir(exist_ok=True)
        kafka = self.stack.service(Kafka)
        settings = {
            "RUBIN_INSTRUMENT": INSTRUMENT,
            "SKYMAP": SKY_MAP,
            "CENTRAL_REPO": self.central,
            "LOCAL_REPOS": str(local),
            "IMAGE_BUCKET": self.image_bucket,
            "KAFKA_CLUSTER": kafka.bootstrap_servers,
            "BUCKET_TOPIC": NOTICES_TOPIC,
            "CONFIG_APDB": self.apdb,
            "PREPROCESSING_PIPELINES_CONFIG": f"- pipelines: [{self.pipelines['Preprocessing']}]",
            "MAIN_PIPELINES_CONFIG": f"- pipelines: [{self.pipelines['ApPipe']}]",
            "REDIS_STREAM_HOST": self.stack.service(RedisServer).host,
            "REDIS_STREAM_NAME": self.stream,
            "FANNED_OUT_MSG_LISTEN_TIMEOUT": "3600",
            "IMAGE_TIMEOUT": "30",
            "WORKER_TIMEOUT": "600",
            "REPO_RETRY_DELAY": "1",
            "METRICS_PORT": "0",
            "AP_KAFKA_TOPIC": f"{self.name}-alerts",
        }
        if through_writer:
            settings |= {
                "USE_KAFKA_BUTLER_WRITER": "1",
                "BUTLER_WRITER_KAFKA_CLUSTER": kafka.sasl_servers,
                "BUTLER_WRITER_KAFKA_USERNAME": kafka.username,
                "BUTLER_WRITER_KAFKA_PASSWORD": kafka.password,
                "BUTLER_WRITER_KAFKA_TOPIC": self.writer_topic,
            }
        return {**self.environment(WORKERS), **settings}

    def settings(self, *, through_writer: bool = True) -> Settings:
        """The same as a worker in this process reads it."""
        os.environ.pop("USE_KAFKA_BUTLER_WRITER", None)
        os.environ.update(self.worker_environment(through_writer=through_writer))
        return Settings.load()

    def statements(self) -> StatementCounter:
        """Count what the database is asked."""
        return StatementCounter(self.stack.service(PostgreSql), self.name)

    def _auth_file(self, user: str) -> Path:
        return self.folder / f"db-auth-{user}.yaml"

    def _make_roles(self, postgresql: PostgreSql) -> None:
        with postgresql.connect(self.name) as admin:
            for user in (WORKERS, WRITER):
                role, password = f"{self.name}-{user}", secrets.token_urlsafe(16)
                admin.execute(
                    SQL("CREATE ROLE {} LOGIN PASSWORD {} IN ROLE {}").format(
                        Identifier(role), Literal(password), Identifier(postgresql.username)
                    )
                )
                entry = {
                    "url": f"postgresql://{HOST}:{postgresql.port}/*",
                    "username": role,
                    "password": password,
                }
                path = self._auth_file(user)
                path.touch(mode=0o600)
                path.write_text(yaml.safe_dump([entry]))

    def _initialize_night(self) -> None:
        initialize_night(
            InitializerSettings(
                rubin_instrument=INSTRUMENT,
                central_repo=self.central,
                preprocessing_pipelines_config=f"- pipelines: [{self.pipelines['Preprocessing']}]",
                main_pipelines_config=f"- pipelines: [{self.pipelines['ApPipe']}]",
                config_apdb=self.apdb,
            ),
            night(time.time()),
        )
