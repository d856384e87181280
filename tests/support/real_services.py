"""Fixtures that start real servers, once per session and only those that a test requests."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator

import pytest

from prompt_processing.services.installation import MissingSoftwareError
from prompt_processing.services.kafka import Kafka
from prompt_processing.services.object_store import ObjectStore
from prompt_processing.services.postgresql import PostgreSql
from prompt_processing.services.redis_server import RedisServer
from prompt_processing.services.schema_registry import SchemaRegistryServer
from prompt_processing.services.service import Service
from prompt_processing.services.software import Software
from prompt_processing.services.stack import ServiceStack


@pytest.fixture(scope="session")
def service_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceStack]:
    """Servers of this session, none of them started."""
    with ServiceStack(tmp_path_factory.mktemp("services")) as stack:
        yield stack


def required[T](what: str, find: Callable[[], T]) -> T:
    """Return what a test requires; if it is missing, fail with CI set, and skip elsewhere."""
    try:
        return find()
    except MissingSoftwareError as error:
        if os.environ.get("CI"):
            pytest.fail(f"A test needs {what}: {error}")
        pytest.skip(str(error))


def started[S: Service](stack: ServiceStack, kind: type[S]) -> S:
    """Start a service, or fail the test with the missing requirement."""
    required(kind.name, lambda: stack.start(kind))
    return stack.service(kind)


@pytest.fixture(scope="session")
def all_software() -> None:
    """Check that all servers can be started, without starting them."""
    required("all servers", Software().install)


@pytest.fixture
def kafka(service_stack: ServiceStack) -> Kafka:
    """Apache Kafka."""
    return started(service_stack, Kafka)


@pytest.fixture
def schema_registry(service_stack: ServiceStack) -> SchemaRegistryServer:
    """Apicurio Registry."""
    return started(service_stack, SchemaRegistryServer)


@pytest.fixture
def postgresql(service_stack: ServiceStack) -> PostgreSql:
    """PostgreSQL."""
    return started(service_stack, PostgreSql)


@pytest.fixture
def redis_server(service_stack: ServiceStack) -> RedisServer:
    """Redis."""
    return started(service_stack, RedisServer)


@pytest.fixture
def object_store(service_stack: ServiceStack) -> ObjectStore:
    """The S3 store, publishing to ``kafka``."""
    return started(service_stack, ObjectStore)


@pytest.fixture
def new_name() -> Callable[[str], str]:
    """Return a function that makes names of topics, buckets and streams that no other test uses."""
    return lambda prefix: f"{prefix}-{uuid.uuid4().hex[:10]}"
