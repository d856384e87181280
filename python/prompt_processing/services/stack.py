"""Start and stop several servers together, in the order of their dependencies."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self, TypeVar

from .kafka import Kafka
from .object_store import ObjectStore
from .postgresql import PostgreSql
from .private import write_private
from .redis_server import RedisServer
from .schema_registry import SchemaRegistryServer
from .server import Server, ServerFailedError
from .service import Service
from .software import Software

__all__ = ["SERVICES", "ServiceStack"]

_log = logging.getLogger("lsst.services.stack")
_S = TypeVar("_S", bound=Service)

SERVICES: tuple[type[Service], ...] = (Kafka, SchemaRegistryServer, PostgreSql, RedisServer, ObjectStore)
"""All services, each after those it depends on."""

_STATE = "state.json"


class ServiceStack:
    """Servers that are started, found and stopped together.

    Parameters
    ----------
    folder
        Folder for data, logs and state. The state holds credentials and is readable only by its owner.
    software
        Finds programs.
    detached
        Whether the servers outlive this process. Otherwise they end with it, even if it is killed.
    """

    def __init__(self, folder: Path, software: Software | None = None, *, detached: bool = False) -> None:
        self.folder = folder.resolve()
        self._software = software or Software()
        self._detached = detached
        self._services: dict[type[Service], Service] = {}
        self._servers: dict[type[Service], Server] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @classmethod
    def load(cls, folder: Path, software: Software | None = None) -> Self:
        """Find servers that another process has started, if any.

        Parameters
        ----------
        folder
            Folder that the other process used.
        software
            Finds programs.

        Returns
        -------
        stack
            Stack with the servers of the state file, running or not.
        """
        stack = cls(folder, software, detached=True)
        path = stack.folder / _STATE
        if not path.is_file():
            return stack
        kinds = {kind.name: kind for kind in SERVICES}
        for name, entry in json.loads(path.read_text()).items():
            kind = kinds[name]
            stack._services[kind] = service = kind.model_validate(entry["service"])
            stack._servers[kind] = server = stack._make_server(service)
            if entry["process"] is not None:
                server.adopt(*entry["process"])
        return stack

    def service(self, kind: type[_S]) -> _S:
        """Return a service that has been started.

        Parameters
        ----------
        kind
            One of `SERVICES`.

        Raises
        ------
        KeyError
            Raised if the service has not been started.
        """
        found = self._services[kind]
        assert isinstance(found, kind)
        return found

    def server(self, kind: type[Service]) -> Server:
        """Return the process of a service, for tests that disturb it; see `service`."""
        return self._servers[kind]

    def __iter__(self) -> Iterator[tuple[Service, Server]]:
        return iter(
            [(self._services[kind], self._servers[kind]) for kind in SERVICES if kind in self._servers]
        )

    def start(self, *kinds: type[Service], timeout: float = 90.0) -> None:
        """Start services and their dependencies, unless they run, and wait until they respond.

        Parameters
        ----------
        *kinds
            Members of `SERVICES`; all if empty.
        timeout
            Time limit for each service, seconds.

        Raises
        ------
        MissingSoftwareError
            Raised if a program is missing and cannot be installed.
        ServerFailedError
            Raised if a service does not start.
        """
        wanted = set(kinds or SERVICES)
        if ObjectStore in wanted:
            wanted.add(Kafka)
        order = [kind for kind in SERVICES if kind in wanted]
        for kind in order:
            self._launch(kind)
            if kind is Kafka and ObjectStore in wanted:
                # The store exits if its topic does not exist.
                self._await(kind, timeout)
        for kind in order:
            self._await(kind, timeout)

    def stop(self) -> None:
        """Stop all services in reverse order, and remove their data."""
        while self._servers:
            kind, server = self._servers.popitem()
            server.stop()
            self._services.pop(kind).remove()
            self._save()
        (self.folder / _STATE).unlink(missing_ok=True)
        for kind in SERVICES:
            shutil.rmtree(self.folder / kind.name, ignore_errors=True)

    def environment(self) -> dict[str, str]:
        """Return the settings of clients of all started services, including credentials."""
        return {
            name: value
            for service in self._services.values()
            for name, value in service.environment().items()
        }

    def _launch(self, kind: type[Service]) -> None:
        if kind in self._servers and self._servers[kind].running:
            return
        if kind not in self._services:
            folder = self.folder / kind.name
            folder.mkdir(parents=True, exist_ok=True)
            fields: dict[str, Any] = {"folder": folder}
            if kind is ObjectStore:
                fields["kafka"] = self.service(Kafka).bootstrap_servers
            service = kind(**fields)
            service.prepare(self._software)
            self._services[kind] = service
            self._servers[kind] = self._make_server(service)
        _log.info("Starting %s ...", kind.name)
        self._servers[kind].start()
        self._save()

    def _await(self, kind: type[Service], timeout: float) -> None:
        try:
            self._servers[kind].wait_ready(timeout)
        except ServerFailedError:
            self._servers[kind].kill()
            raise
        self._services[kind].set_up()

    def _make_server(self, service: Service) -> Server:
        return Server(
            service.name,
            service.command(self._software),
            service.ready,
            self.folder / f"{service.name}.log",
            detached=self._detached,
        )

    def _save(self) -> None:
        state = {
            service.name: {"service": service.model_dump(mode="json"), "process": server.identity}
            for service, server in self
        }
        path = self.folder / _STATE
        self.folder.mkdir(parents=True, exist_ok=True)
        write_private(path, json.dumps(state, indent=2))
