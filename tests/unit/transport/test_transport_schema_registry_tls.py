"""A schema registry behind HTTPS and a password."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from prompt_processing.transport.schema_registry import SchemaRegistry, SchemaRegistryError

PASSWORD = "swordfish"
AUTHORIZED = "Basic " + base64.b64encode(f"me:{PASSWORD}".encode()).decode()


@dataclass(frozen=True)
class Registry:
    url: str
    ca_file: str


def certify(folder: Path) -> tuple[Path, Path]:
    """Make a certificate of this host that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "registry")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    certificate_file, key_file = folder / "registry.pem", folder / "key.pem"
    certificate_file.write_bytes(certificate.public_bytes(pem))
    traditional, plain = serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    key_file.write_bytes(key.private_bytes(pem, traditional, plain))
    return certificate_file, key_file


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.headers.get("Authorization") == AUTHORIZED
            body = json.dumps({"schema": json.dumps("string")}).encode()
            self.send_response(200 if known else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    certificate, key = certify(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Registry(f"https://127.0.0.1:{server.server_port}", str(certificate))
    server.shutdown()
    server.server_close()


def test_schema_is_read_over_https_with_a_password(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The environment's bundle is not to win over the registry's own.
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certifi.where())
    client = SchemaRegistry(registry.url, credentials=("me", PASSWORD), ca_file=registry.ca_file)
    assert client.schema(4) == "string"


def test_wrong_authority_is_named(registry: Registry) -> None:
    client = SchemaRegistry(registry.url, credentials=("me", PASSWORD), ca_file=certifi.where())
    with pytest.raises(SchemaRegistryError, match="certificate") as raised:
        client.schema(4)
    assert certifi.where() in str(raised.value)
    assert PASSWORD not in str(raised.value)


def test_wrong_password_names_the_settings_and_is_not_shown(registry: Registry) -> None:
    client = SchemaRegistry(registry.url, credentials=("me", "wrong-one"), ca_file=registry.ca_file)
    with pytest.raises(SchemaRegistryError, match="KAFKA_SCHEMA_REGISTRY_PASSWORD") as raised:
        client.schema(4)
    assert "wrong-one" not in str(raised.value)
