"""Real servers for fault tests, a proxy before each that supports one, and a repository to copy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import butler_world as world
import fault_pipeline
import pytest
import yaml
from fault_nursery import Nursery
from fault_proxy import Proxy
from lsst.dax.apdb.sql import ApdbSql

from prompt_processing.repository.central import make_central_repository
from prompt_processing.services.kafka import Kafka
from prompt_processing.services.object_store import ObjectStore
from prompt_processing.services.postgresql import PostgreSql
from prompt_processing.services.redis_server import RedisServer
from prompt_processing.services.stack import ServiceStack

CENTRAL_BUCKET = "fault-central"
ROOT = f"s3://{CENTRAL_BUCKET}/central"
APDB_NAMESPACE = "apdb"
PRISTINE = "fault-pristine"
DETECTORS = (94, 95)


@dataclass(frozen=True)
class Servers:
    """Real servers, and a proxy before each that supports one."""

    stack: ServiceStack
    kafka: Kafka
    store: ObjectStore
    postgresql: PostgreSql
    redis: RedisServer
    proxies: dict[str, Proxy]
    nursery: Nursery
    folder: Path

    @property
    def store_url(self) -> str:
        return f"http://127.0.0.1:{self.proxies['s3'].port}"


def make_servers(stack: ServiceStack, folder: Path, patch: pytest.MonkeyPatch) -> Servers:
    """Put proxies before running servers, and make the central repository that each test copies."""
    kafka, store = stack.service(Kafka), stack.service(ObjectStore)
    postgresql, redis = stack.service(PostgreSql), stack.service(RedisServer)
    proxies = {
        "s3": Proxy(store.port),
        "postgresql": Proxy(postgresql.port),
        "redis": Proxy(redis.port),
    }
    entries = yaml.safe_load(postgresql.auth_file.read_text())
    entries.append({**entries[0], "url": f"postgresql://127.0.0.1:{proxies['postgresql'].port}/*"})
    auth = folder / "db-auth.yaml"
    auth.write_text(yaml.safe_dump(entries))
    auth.chmod(0o600)
    servers = Servers(stack, kafka, store, postgresql, redis, proxies, Nursery(folder), folder)
    for name, value in environment_of(servers).items():
        patch.setenv(name, value)
    store.client().create_bucket(Bucket=CENTRAL_BUCKET)
    camera = world.small_camera()
    paths = world.write_pipelines(folder / "pipelines", fault_pipeline.TASKS)
    database = postgresql.create_database(PRISTINE)
    make_central_repository(
        str(folder / "central"),
        camera,
        world.small_content(camera, DETECTORS),
        pipelines=list(paths.values()),
        database=database,
        datastore=ROOT,
    )
    ApdbSql.init_database(db_url=database, namespace=APDB_NAMESPACE).save(str(folder / "apdb.yaml"))
    return servers


def environment_of(servers: Servers) -> dict[str, str]:
    """Return settings of this process's own clients, which bypass the proxies."""
    return {**servers.store.environment(), "LSST_DB_AUTH": str(servers.folder / "db-auth.yaml")}
