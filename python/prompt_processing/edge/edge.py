"""All servers of an edge on this machine, started and stopped together."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from pydantic import BaseModel, SecretStr

from prompt_processing.services.server import Server
from prompt_processing.services.service import HOST, Service, free_port
from prompt_processing.services.software import Software

from .servers import Caddy, IdentityProvider, LoginProxy, Pebble, User

__all__ = ["LAPTOP_USERS", "Edge", "Pages", "Provider"]

_log = logging.getLogger("lsst.edge")

LAPTOP_USERS = (
    User(name="operator", groups=("operators",)),
    User(name="scientist", groups=("scientists",)),
    User(name="visitor"),
)
"""Persons whom the identity provider of a laptop knows."""


class Pages(BaseModel):
    """Where the pages behind the edge are served.

    Attributes
    ----------
    board, navigator, hub, flows
        ``host:port`` of each page; one that is not served answers 502.
    """

    board: str = f"{HOST}:8000"
    navigator: str = f"{HOST}:5006"
    hub: str = f"{HOST}:8001"
    flows: str = f"{HOST}:4200"


class Provider(BaseModel):
    """OpenID Connect provider of an observatory.

    Attributes
    ----------
    issuer
        URL of the provider.
    client_id, client_secret
        The edge's credentials at the provider.
    groups_claim
        Claim with a person's groups.
    """

    issuer: str
    client_id: str
    client_secret: SecretStr
    groups_claim: str = "groups"


class Edge:
    """The edge on this machine.

    Parameters
    ----------
    folder
        Folder for configuration, certificates and logs.
    pages
        Where the pages are served.
    host
        Name in the address.
    port, http_port
        Ports for https and http; free ones by default.
    provider
        Who logs people in. By default a provider that accepts each name in `users` without a password.
    users
        Persons whom that provider knows.
    acme
        URL of the certificate authority's ACME directory; by default one on this machine, which browsers do
        not trust.
    validity_seconds
        Lifetime of the certificates of that authority, seconds.
    renew_seconds
        How often certificates are checked for renewal, seconds.
    hub_token
        Proves to the hub that requests come from the edge.
    software
        Finds programs.
    """

    def __init__(
        self,
        folder: Path,
        pages: Pages | None = None,
        *,
        host: str = "localhost",
        port: int | None = None,
        http_port: int | None = None,
        provider: Provider | None = None,
        users: Sequence[User] = LAPTOP_USERS,
        acme: str | None = None,
        validity_seconds: int = 7 * 86400,
        renew_seconds: float = 600.0,
        hub_token: SecretStr | None = None,
        software: Software | None = None,
    ) -> None:
        self.folder = folder.resolve()
        self._software = software or Software()
        self._pages = pages or Pages()
        self._host = host
        self._port = port or free_port()
        self._http_port = http_port or free_port()
        self._provider = provider
        self._users = tuple(users)
        self._acme = acme
        self._validity_seconds = validity_seconds
        self._renew_seconds = renew_seconds
        self._hub_token = hub_token or SecretStr("")
        self._servers: dict[str, Server] = {}
        self.authority: Pebble | None = None

    @property
    def url(self) -> str:
        """Address of the edge, as a browser sees it."""
        return f"https://{self._host}" + ("" if self._port == 443 else f":{self._port}")

    @property
    def http_url(self) -> str:
        """Address that redirects to `url`."""
        return f"http://{self._host}" + ("" if self._http_port == 80 else f":{self._http_port}")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def start(self, timeout: float = 60.0) -> None:
        """Start all servers, and wait until the edge has a certificate.

        Parameters
        ----------
        timeout
            Time limit of each server, seconds.

        Raises
        ------
        MissingSoftwareError
            Raised if a program is missing and cannot be installed.
        ServerFailedError
            Raised if a server does not start, or no certificate is obtained.
        """
        try:
            self._start(timeout)
        # Ctrl-C included: servers that are up already would stay.
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop all servers."""
        while self._servers:
            _, server = self._servers.popitem()
            server.stop()

    def server(self, kind: type[Service]) -> Server:
        """Return the process of a server, for tests that disturb it."""
        return self._servers[kind.name]

    def _start(self, timeout: float) -> None:
        provider = self._provider
        if provider is None:
            local = IdentityProvider(folder=self._folder(IdentityProvider), users=self._users)
            self._launch(local, timeout)
            provider = Provider(
                issuer=local.issuer, client_id="edge", client_secret=SecretStr(secrets.token_hex(16))
            )
        trusted = None
        acme = self._acme
        if acme is None:
            self.authority = Pebble(
                folder=self._folder(Pebble),
                http_port=self._http_port,
                tls_port=self._port,
                validity_seconds=self._validity_seconds,
            )
            self._launch(self.authority, timeout)
            acme, trusted = self.authority.directory, self.authority.root
        login = LoginProxy(folder=self._folder(LoginProxy), site=self.url, **dict(provider))
        self._launch(login, timeout)
        variables = {
            "EDGE_ACME": acme,
            "EDGE_EMAIL": f"operators@{self._host}",
            "EDGE_LOGIN": login.address(),
            "EDGE_RENEW_INTERVAL": f"{self._renew_seconds:g}s",
            "EDGE_BOARD": self._pages.board,
            "EDGE_NAVIGATOR": self._pages.navigator,
            "EDGE_HUB": self._pages.hub,
            "EDGE_HUB_TOKEN": self._hub_token.get_secret_value(),
            "EDGE_FLOWS": self._pages.flows,
        }
        caddy = Caddy(
            folder=self._folder(Caddy),
            host=self._host,
            port=self._port,
            http_port=self._http_port,
            variables=variables,
            trusted=trusted,
        )
        self._launch(caddy, timeout)

    def _folder(self, kind: type[Service]) -> Path:
        folder = self.folder / kind.name
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder

    def _launch(self, service: Service, timeout: float) -> None:
        service.prepare(self._software)
        command = service.command(self._software)
        server = Server(
            service.name, command, service.ready, self.folder / f"{service.name}.log", detached=False
        )
        _log.info("Starting %s ...", service.name)
        self._servers[service.name] = server
        server.start()
        server.wait_ready(timeout)
