"""Redis: streams of fanned-out visits."""

from __future__ import annotations

from typing import ClassVar

import redis
from pydantic import Field
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from .server import ServerCommand
from .service import HOST, Service, free_port
from .software import Software

__all__ = ["RedisServer"]


class RedisServer(Service):
    """Redis server that writes every change to a file, so that its streams survive a restart.

    Attributes
    ----------
    port
        Port that the server listens on.
    """

    name: ClassVar[str] = "redis"

    port: int = Field(default_factory=free_port)

    @property
    def host(self) -> str:
        """``host:port``."""
        return f"{HOST}:{self.port}"

    def client(self) -> redis.Redis:
        """Create a client that fails at once if the server does not respond."""
        return redis.Redis(
            host=HOST, port=self.port, socket_timeout=2.0, decode_responses=True, retry=Retry(NoBackoff(), 0)
        )

    def prepare(self, software: Software) -> None:
        """Find the program."""
        software.redis()

    def command(self, software: Software) -> ServerCommand:
        """Return the command that starts the server."""
        program = software.redis()
        options = {
            "bind": HOST,
            "port": str(self.port),
            "dir": str(self.folder),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "daemonize": "no",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        return ServerCommand([str(program.path), *words], self.folder, program.environment)

    def ready(self) -> bool:
        """Return whether the server responds."""
        try:
            with self.client() as client:
                return bool(client.ping())
        except RedisError:
            return False

    def environment(self) -> dict[str, str]:
        """Return the settings of clients."""
        return {"REDIS_HOST": self.host, "REDIS_STREAM_HOST": self.host}

    def address(self) -> str:
        """Return the address."""
        return self.host
