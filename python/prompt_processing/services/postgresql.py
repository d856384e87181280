"""PostgreSQL: central registry and APDB, each in its own schema."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import psycopg
import yaml
from psycopg.sql import SQL, Identifier
from pydantic import Field

from .server import ServerCommand, ServerFailedError
from .service import HOST, Service, free_port, listens
from .software import Software

__all__ = ["PostgreSql"]

_EXTENSIONS = ("btree_gist", "pg_stat_statements")
"""Extensions for the Butler's registry, and for the benchmarks, which count statements."""

_SETTINGS = {
    "listen_addresses": HOST,
    "max_connections": "200",
    "shared_buffers": "64MB",
    # Only a crash of the machine would lose data, and the data do not outlive the machine's uptime.
    "fsync": "off",
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.track": "all",
    "password_encryption": "scram-sha-256",
}


class PostgreSql(Service):
    """A PostgreSQL server.

    Attributes
    ----------
    data
        Folder of the data. The server does not run as root: if this process does, the folder belongs to
        another user and lies outside ``folder``, which that user may be unable to reach.
    port
        Port that the server listens on.
    username, password, database
        Credentials and database of the only user, who owns everything.
    """

    name: ClassVar[str] = "postgresql"

    data: Path | None = None
    port: int = Field(default_factory=free_port)
    username: str = "prompt"
    password: str = Field(default_factory=lambda: secrets.token_urlsafe(16), repr=False)
    database: str = "prompt"

    @property
    def url(self) -> str:
        """SQLAlchemy URL without the password, which is in the file that ``LSST_DB_AUTH`` names."""
        return f"postgresql://{self.username}@{HOST}:{self.port}/{self.database}"

    @property
    def auth_file(self) -> Path:
        """File with the credentials, as the Rubin middleware reads them."""
        return self.folder / "db-auth.yaml"

    def connect(self, database: str | None = None) -> psycopg.Connection[Any]:
        """Open a connection.

        Parameters
        ----------
        database
            Database other than the service's own.
        """
        return psycopg.connect(
            host=HOST,
            port=self.port,
            user=self.username,
            password=self.password,
            dbname=database or self.database,
            connect_timeout=3,
        )

    def prepare(self, software: Software) -> None:
        """Create the database cluster and the file of credentials."""
        program = software.postgresql()
        self._write_auth_file()
        if self.data is None:
            self.data = _data_folder(self.folder)
        if (self.data / "PG_VERSION").is_file():
            return
        with tempfile.NamedTemporaryFile("w", prefix="prompt-", dir=_reachable_folder()) as secret:
            secret.write(self.password)
            secret.flush()
            if (user := _server_user()) is not None:
                os.chown(secret.name, user, -1)
            done = subprocess.run(
                [
                    program.sibling("initdb"),
                    "--pgdata",
                    str(self.data),
                    "--username",
                    self.username,
                    "--pwfile",
                    secret.name,
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    "--locale=C.UTF-8",
                    "--no-sync",
                    "--no-instructions",
                ],
                cwd=self.data,
                env={**os.environ, **program.environment},
                capture_output=True,
                text=True,
                check=False,
                timeout=120,
                user=_server_user(),
                extra_groups=None if _server_user() is None else [],
            )
        if done.returncode != 0:
            raise ServerFailedError(f"initdb failed:\n{done.stdout}{done.stderr}")

    def command(self, software: Software) -> ServerCommand:
        """Return the command that starts the server."""
        program = software.postgresql()
        assert self.data is not None, "prepared first"
        # No Unix socket: its path is limited to 107 characters, and folders may be nested deeply.
        settings = {**_SETTINGS, "port": str(self.port), "unix_socket_directories": ""}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return ServerCommand(
            [str(program.path), "-D", str(self.data), *options],
            self.data,
            program.environment,
            user=_server_user(),
            # Closes connections instead of waiting for clients.
            stop_signal=signal.SIGINT,
        )

    def ready(self) -> bool:
        """Return whether the server responds."""
        if not listens(self.port):
            return False
        try:
            self.connect("postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    def set_up(self) -> None:
        """Create the database and its extensions."""
        self.create_database(self.database)

    def create_database(self, name: str) -> str:
        """Create a database with the required extensions, unless it exists.

        Parameters
        ----------
        name
            Name of the database.

        Returns
        -------
        url
            As for `url`.
        """
        with self.connect("postgres") as admin:
            # A database cannot be created within a transaction.
            admin.autocommit = True
            known = admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
            if known.fetchone() is None:
                admin.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
        with self.connect(name) as connection:
            for extension in _EXTENSIONS:
                connection.execute(SQL("CREATE EXTENSION IF NOT EXISTS {}").format(Identifier(extension)))
        return f"postgresql://{self.username}@{HOST}:{self.port}/{name}"

    def environment(self) -> dict[str, str]:
        """Return the settings of clients."""
        return {"PROMPT_DATABASE_URL": self.url, "LSST_DB_AUTH": str(self.auth_file)}

    def address(self) -> str:
        """Return the address."""
        return self.url

    def remove(self) -> None:
        """Remove the data."""
        if self.data is not None:
            shutil.rmtree(self.data, ignore_errors=True)

    def _write_auth_file(self) -> None:
        entry = {
            "url": f"postgresql://{HOST}:{self.port}/*",
            "username": self.username,
            "password": self.password,
        }
        self.auth_file.touch(mode=0o600)
        self.auth_file.write_text(yaml.safe_dump([entry]))


def _server_user() -> int | None:
    """Return the user id to run the server as: `None` for the current user, unless that is root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            continue
    raise ServerFailedError(
        "PostgreSQL does not run as root, and neither a user postgres nor a user nobody exists."
    )


def _reachable_folder() -> str | None:
    # If this process is root, only root may be able to enter its folder for temporary files.
    return "/tmp" if os.geteuid() == 0 else None


def _data_folder(folder: Path) -> Path:
    user = _server_user()
    if user is None:
        data = folder / "data"
        data.mkdir(mode=0o700, exist_ok=True)
        return data
    data = Path(tempfile.mkdtemp(prefix="prompt-postgresql-", dir=_reachable_folder()))
    os.chown(data, user, -1)
    return data
