"""Apache Cassandra: one node, for an APDB."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from prompt_processing.services.installation import MissingSoftwareError
from prompt_processing.services.server import Server, ServerCommand
from prompt_processing.services.service import HOST, free_port
from prompt_processing.services.software import Software

_CONFIGURATION = """
cluster_name: test
num_tokens: 1
listen_address: {host}
rpc_address: {host}
native_transport_port: {port}
storage_port: {storage_port}
ssl_storage_port: {ssl_storage_port}
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
endpoint_snitch: SimpleSnitch
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters: [{{seeds: "{host}:{storage_port}"}}]
data_file_directories: [{folder}/data]
commitlog_directory: {folder}/commitlog
saved_caches_directory: {folder}/saved
hints_directory: {folder}/hints
cdc_raw_directory: {folder}/cdc
commitlog_sync: periodic
commitlog_sync_period: 10000ms
authenticator: AllowAllAuthenticator
authorizer: AllowAllAuthorizer
auto_snapshot: false
"""

# What Cassandra's own start script opens for Java 17.
_OPEN = (
    "java.base/java.io",
    "java.base/java.lang",
    "java.base/java.lang.reflect",
    "java.base/java.math",
    "java.base/java.net",
    "java.base/java.nio",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "java.base/jdk.internal.loader",
    "java.base/jdk.internal.math",
    "java.base/jdk.internal.misc",
    "java.base/jdk.internal.module",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect",
    "java.base/jdk.internal.util",
    "java.base/jdk.internal.util.jar",
    "java.base/sun.nio.ch",
    "java.management/sun.management",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.rmi/sun.rmi.transport.tcp",
    "jdk.management/com.sun.management.internal",
)


@dataclass(frozen=True)
class Cassandra:
    """A running node."""

    port: int
    server: Server


@contextmanager
def running_cassandra(folder: Path) -> Iterator[Cassandra]:
    """Start a node, and stop it at the end."""
    software = Software()
    try:
        libraries, java = software.cassandra_libraries(), software.java()
    except MissingSoftwareError as error:
        if os.environ.get("CI"):
            pytest.fail(f"A test needs Cassandra: {error}")
        pytest.skip(str(error))
    folder.mkdir()
    port = free_port()
    configuration = folder / "cassandra.yaml"
    configuration.write_text(
        _CONFIGURATION.format(
            host=HOST,
            port=port,
            storage_port=free_port(),
            ssl_storage_port=free_port(),
            folder=folder,
        )
    )
    # The root logger's default level is DEBUG, which is slower than the queries.
    (folder / "logback.xml").write_text("<configuration><root level='ERROR'/></configuration>")
    opened = [
        option
        for package in _OPEN
        for option in (
            "--add-opens",
            f"{package}=ALL-UNNAMED",
            "--add-exports",
            f"{package}=ALL-UNNAMED",
        )
    ]
    command = ServerCommand(
        [
            str(java.path),
            "-Xmx600m",
            "-XX:TieredStopAtLevel=1",
            "-Djava.security.manager=allow",
            "-Djdk.attach.allowAttachSelf=true",
            f"-Dcassandra.config={configuration.as_uri()}",
            f"-Dcassandra.storagedir={folder}",
            f"-Dlogback.configurationFile={folder / 'logback.xml'}",
            "-Dcassandra-foreground=yes",
            "-Dcassandra.ring_delay_ms=100",
            "-Dcassandra.skip_wait_for_gossip_to_settle=0",
            "-Dcassandra.superuser_setup_delay_ms=0",
            *opened,
            "-cp",
            f"{libraries}/*",
            "org.apache.cassandra.service.CassandraDaemon",
        ],
        folder,
    )

    def ready() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((HOST, port)) == 0

    server = Server("cassandra", command, ready, folder / "cassandra.log", detached=False)
    server.start()
    try:
        server.wait_ready(180.0)
        yield Cassandra(port, server)
    finally:
        server.stop()
