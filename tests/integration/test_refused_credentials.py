"""Servers that let nobody in are told from those that are away, by name and without the secret."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from butler_world import make_visit
from lsst.dax.apdb.sql import ApdbSql
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

from prompt_processing.activator.storage.image_bucket import ImageBucket
from prompt_processing.activator.storage.visit_stream import StreamUnavailableError, VisitStream
from prompt_processing.apdb.preloaded_catalogs import open_apdb
from prompt_processing.butler.errors import passing
from prompt_processing.domain.errors import RetriableError
from prompt_processing.instruments.raw_store import RawStore
from prompt_processing.services.object_store import ObjectStore
from prompt_processing.services.postgresql import PostgreSql
from prompt_processing.services.redis_server import RedisServer
from prompt_processing.services.service import HOST, free_port
from prompt_processing.transport.refusals import explain_refusal
from prompt_processing.transport.s3 import make_s3_client

pytestmark = pytest.mark.services

WRONG = "wrong-swordfish"


@pytest.mark.parametrize("variable", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_key_of_the_store_is_named(
    object_store: ObjectStore,
    new_name: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    bucket = new_name("refused")
    object_store.client().create_bucket(Bucket=bucket)
    environment = object_store.environment()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(variable, WRONG)
    client = make_s3_client(environment["S3_ENDPOINT_URL"], attempts=1)
    with pytest.raises(RetriableError) as caught:
        ImageBucket(RawStore(client, bucket)).find(make_visit(), 0.0)
    for word in (bucket, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        assert word in caught.value.reason
    assert WRONG not in caught.value.reason


def test_wrong_password_of_the_database_is_named(
    postgresql: PostgreSql, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = f"postgresql+psycopg://{postgresql.username}@{HOST}:{postgresql.port}/{postgresql.database}"
    monkeypatch.setenv("PGPASSWORD", WRONG)
    with pytest.raises(RetriableError) as caught, passing("Opening the central repository"):
        create_engine(url).connect()
    for word in ("password authentication failed", postgresql.username, "LSST_DB_AUTH"):
        assert word in caught.value.reason
    assert WRONG not in caught.value.reason

    sqlite = ApdbSql.init_database(db_url=f"sqlite:///{tmp_path / 'apdb.db'}")
    sqlite.db_url = url
    sqlite.save(str(tmp_path / "apdb.yaml"))
    with pytest.raises(RetriableError, match="password authentication failed") as caught:
        open_apdb(str(tmp_path / "apdb.yaml"))
    assert WRONG not in caught.value.reason


def test_database_that_is_away_is_not_said_to_refuse() -> None:
    with pytest.raises(OperationalError) as caught:
        create_engine(f"postgresql+psycopg://nobody@{HOST}:{free_port()}/none").connect()
    assert explain_refusal(caught.value) is None


def test_redis_that_wants_a_password_is_named(
    redis_server: RedisServer, new_name: Callable[[str], str]
) -> None:
    host, port = redis_server.host.split(":")
    with redis.Redis(host=host, port=int(port)) as admin:
        admin.config_set("requirepass", WRONG)
        try:
            stream = VisitStream(redis_server.host, new_name("stream"), "group", 60.0)
            with pytest.raises(StreamUnavailableError) as caught:
                stream.open()
        finally:
            admin.config_set("requirepass", "")
    for word in ("does not let this client in", "requirepass", str(stream)):
        assert word in caught.value.reason
    assert WRONG not in caught.value.reason
