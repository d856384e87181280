"""Servers of the edge, as processes on this machine."""

from __future__ import annotations

import json
import secrets
import ssl
import sys
import urllib.request
from importlib import resources
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, Field, SecretStr

from prompt_processing.services.private import write_private
from prompt_processing.services.server import ServerCommand
from prompt_processing.services.service import HOST, Service, free_port, listens
from prompt_processing.services.software import Software

from .certificate import certify

__all__ = ["Caddy", "IdentityProvider", "LoginProxy", "Pebble", "User"]

_AUTHORITY_NAME = "localhost"


class User(BaseModel):
    """Person whom the identity provider of a laptop knows.

    Attributes
    ----------
    name
        What the person types to log in.
    groups
        Groups that the pages ask for.
    """

    name: str
    groups: tuple[str, ...] = ()

    def claims(self) -> dict[str, object]:
        """Return what an identity provider says of the person."""
        return {
            "sub": self.name,
            "email": f"{self.name}@example.org",
            "email_verified": True,
            "groups": list(self.groups),
        }


class Pebble(Service):
    """Certificate authority that speaks ACME; browsers do not trust its certificates.

    Attributes
    ----------
    port
        Port of the ACME directory, served over TLS with a certificate of `root`.
    http_port
        Port at which it verifies that a host belongs to who asks for a certificate (HTTP-01).
    tls_port
        The same, for TLS-ALPN-01.
    validity_seconds
        Lifetime of certificates, seconds.
    """

    name: ClassVar[str] = "pebble"

    port: int = Field(default_factory=free_port)
    management_port: int = Field(default_factory=free_port)
    http_port: int
    tls_port: int
    validity_seconds: int = 7 * 86400

    @property
    def directory(self) -> str:
        """URL of the ACME directory."""
        return f"https://{_AUTHORITY_NAME}:{self.port}/dir"

    @property
    def root(self) -> Path:
        """Certificate that verifies the directory's own address."""
        return self.folder / "address.pem"

    def issuer(self) -> str:
        """Return the certificate, PEM, that verifies those that it issues; each start makes another."""
        context = ssl.create_default_context(cafile=str(self.root))
        url = f"https://{_AUTHORITY_NAME}:{self.management_port}/roots/0"
        with urllib.request.urlopen(url, context=context, timeout=10) as answer:
            text: str = answer.read().decode()
        return text

    def prepare(self, software: Software) -> None:
        """Write the configuration and the certificate of the directory's address."""
        software.pebble()
        key = self.folder / "address.key"
        if not self.root.exists():
            certify(_AUTHORITY_NAME, self.root, key)
        content = {
            "pebble": {
                "listenAddress": f"{HOST}:{self.port}",
                "managementListenAddress": f"{HOST}:{self.management_port}",
                "certificate": str(self.root),
                "privateKey": str(key),
                "httpPort": self.http_port,
                "tlsPort": self.tls_port,
                "ocspResponderURL": "",
                "externalAccountBindingRequired": False,
                "profiles": {"default": {"description": "", "validityPeriod": self.validity_seconds}},
                "retryAfter": {"authz": 1, "order": 1},
            }
        }
        (self.folder / "pebble.json").write_text(json.dumps(content), encoding="utf-8")

    def command(self, software: Software) -> ServerCommand:
        """Return the command that starts the server."""
        program = software.pebble()
        # Otherwise it sleeps and refuses at random, which is a test of clients and not of an edge.
        environment = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0", **program.environment}
        return ServerCommand([str(program.path), "-config", "pebble.json"], self.folder, environment)

    def ready(self) -> bool:
        """Return whether the server responds."""
        return listens(self.port) and listens(self.management_port)

    def environment(self) -> dict[str, str]:
        """Return the settings of clients."""
        return {"EDGE_ACME": self.directory}

    def address(self) -> str:
        """Return the address."""
        return self.directory


class IdentityProvider(Service):
    """OpenID Connect provider that asks for a name only; for a laptop and for tests.

    Attributes
    ----------
    port
        Port that it listens on.
    users
        Persons whom it knows.
    """

    name: ClassVar[str] = "identity-provider"

    port: int = Field(default_factory=free_port)
    users: tuple[User, ...]

    @property
    def issuer(self) -> str:
        """URL of the provider."""
        return f"http://{HOST}:{self.port}"

    def prepare(self, software: Software) -> None:
        """Write the list of users."""
        claims = [user.claims() for user in self.users]
        (self.folder / "users.json").write_text(json.dumps(claims), encoding="utf-8")

    def command(self, software: Software) -> ServerCommand:
        """Return the command that starts the provider."""
        module = [sys.executable, "-m", "oidc_provider_mock"]
        options = ["--host", HOST, "--port", str(self.port), "--user-claims-file", "users.json"]
        return ServerCommand([*module, *options], self.folder)

    def ready(self) -> bool:
        """Return whether the provider responds."""
        return listens(self.port)

    def environment(self) -> dict[str, str]:
        """Return the settings of clients."""
        return {"EDGE_ISSUER": self.issuer}

    def address(self) -> str:
        """Return the address."""
        return self.issuer


class LoginProxy(Service):
    """oauth2-proxy: logs people in, and answers whether a request may pass.

    Attributes
    ----------
    port
        Port that it listens on.
    site
        URL of the edge, as browsers see it.
    issuer
        URL of the OpenID Connect provider.
    client_id, client_secret
        Credentials at the provider.
    groups_claim
        Claim with a person's groups.
    """

    name: ClassVar[str] = "login"

    port: int = Field(default_factory=free_port)
    site: str
    issuer: str
    client_id: str
    client_secret: SecretStr
    groups_claim: str = "groups"

    def prepare(self, software: Software) -> None:
        """Write the secrets, which never appear on a command line."""
        software.oauth2_proxy()
        write_private(self.folder / "client-secret", self.client_secret.get_secret_value())
        cookie = self.folder / "cookie-secret"
        if not cookie.exists():
            # As many bytes as an AES-256 key has; oauth2-proxy takes them as they are.
            write_private(cookie, secrets.token_hex(16))

    def command(self, software: Software) -> ServerCommand:
        """Return the command that starts the server."""
        program = software.oauth2_proxy()
        options = {
            "http-address": f"{HOST}:{self.port}",
            "provider": "oidc",
            "oidc-issuer-url": self.issuer,
            "oidc-groups-claim": self.groups_claim,
            "scope": "openid email profile groups",
            "client-id": self.client_id,
            "client-secret-file": str(self.folder / "client-secret"),
            "cookie-secret-file": str(self.folder / "cookie-secret"),
            "cookie-secure": "true",
            "cookie-samesite": "lax",
            "code-challenge-method": "S256",
            "redirect-url": f"{self.site}/oauth2/callback",
            "whitelist-domain": self.site.partition("://")[2],
            "email-domain": "*",
            "reverse-proxy": "true",
            "trusted-proxy-ip": HOST,
            "set-xauthrequest": "true",
            "skip-provider-button": "true",
            "upstream": "static://202",
        }
        words = [f"--{name}={value}" for name, value in options.items()]
        return ServerCommand([str(program.path), *words], self.folder, program.environment)

    def ready(self) -> bool:
        """Return whether the server responds."""
        return listens(self.port)

    def environment(self) -> dict[str, str]:
        """Return the settings of clients."""
        return {"EDGE_LOGIN": f"{HOST}:{self.port}"}

    def address(self) -> str:
        """Return the address."""
        return f"{HOST}:{self.port}"


class Caddy(Service):
    """Web server with the project's ``Caddyfile``.

    Attributes
    ----------
    host
        Name in the address, for which a certificate is obtained.
    port, http_port
        Ports for https, and for http, which redirects.
    variables
        ``EDGE_*`` variables of the ``Caddyfile``.
    trusted
        Certificate that verifies the ACME directory; `None` for a public one.
    """

    name: ClassVar[str] = "caddy"

    host: str
    port: int
    http_port: int
    variables: dict[str, str]
    trusted: Path | None = None

    def prepare(self, software: Software) -> None:
        """Copy the configuration."""
        software.caddy()
        text = (resources.files(__package__) / "Caddyfile").read_text(encoding="utf-8")
        (self.folder / "Caddyfile").write_text(text, encoding="utf-8")

    def command(self, software: Software) -> ServerCommand:
        """Return the command that starts the server."""
        program = software.caddy()
        site = self.host if self.port == 443 else f"{self.host}:{self.port}"
        environment = {
            **program.environment,
            **self.variables,
            "EDGE_SITE": f"https://{site}",
            "EDGE_BIND": HOST,
            "EDGE_HTTP_PORT": str(self.http_port),
            "EDGE_STATE": str(self.folder / "state"),
        }
        if self.trusted is not None:
            environment["SSL_CERT_FILE"] = str(self.trusted)
        words = [str(program.path), "run", "--config", "Caddyfile", "--adapter", "caddyfile"]
        return ServerCommand(words, self.folder, environment)

    def ready(self) -> bool:
        """Return whether the server has a certificate and responds."""
        if not listens(self.port):
            return False
        # Who issued the certificate is the clients' question; here only whether there is one.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        url = f"https://{self.host}:{self.port}/edge/health"
        try:
            with urllib.request.urlopen(url, context=context, timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def environment(self) -> dict[str, str]:
        """Return the settings of clients."""
        return {"EDGE_URL": f"https://{self.host}:{self.port}"}

    def address(self) -> str:
        """Return the address."""
        return f"https://{self.host}:{self.port}"
