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


def started[S: Service](stack: ServiceStack, kind: type[S]) -> S:
    """Start a service, or fail the test with the missing requirement."""
    try:
        stack.start(kind)
    except MissingSoftwareError as error:
        if os.environ.get("CI"):
            pytest.fail(f"A test needs {kind.name}: {error}")
        pytest.skip(str(error))
    return stack.service(kind)


@pytest.fixture(scope="session")
def all_software() -> None:
    """Check that all servers can be started, without starting them."""
    try:
        Software().install()
    except MissingSoftwareError as error:
        if os.environ.get("CI"):
            pytest.fail(f"A test needs all servers: {error}")
        pytest.skip(str(error))


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
