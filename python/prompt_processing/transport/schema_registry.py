"""A minimal client of Confluent's schema registry, and the framing of messages that refer to it.

Only two requests are needed. The registry client of ``confluent_kafka`` would add a second HTTP library,
OAuth and encryption.
"""

import io
import json
import struct
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import fastavro
from fastavro.schema import SchemaParseException, UnknownType

from prompt_processing.domain.json_text import parse_json

# Imported late: a worker is ready for visits before it asks a registry.
if TYPE_CHECKING:
    import requests

__all__ = ["MAGIC_BYTE", "SchemaRegistry", "SchemaRegistryError", "UnknownSchemaError", "frame", "unframe"]

MAGIC_BYTE = 0
_HEADER = struct.Struct(">bI")
_MOST_REFERENCES = 100
_CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"


class SchemaRegistryError(RuntimeError):
    """The registry gave no valid answer; the message may be readable later."""


class UnknownSchemaError(ValueError):
    """The registry has no Avro schema with this id; the message can never be read."""


def frame(schema_id: int, datum: bytes) -> bytes:
    """Return an Avro datum preceded by the magic byte and the big-endian schema id."""
    return _HEADER.pack(MAGIC_BYTE, schema_id) + datum


def unframe(message: bytes) -> tuple[int, bytes]:
    """Split a framed message into the schema id and the Avro datum.

    Raises
    ------
    ValueError
        If the message is too short to be framed, or does not begin with the magic byte.
    """
    if len(message) < _HEADER.size or message[0] != MAGIC_BYTE:
        raise ValueError("message is not in Confluent's framing")
    _, schema_id = _HEADER.unpack_from(message)
    return schema_id, message[_HEADER.size :]


class SchemaRegistry:
    """Schemas by id; each is fetched once, because an id never changes its meaning.

    Parameters
    ----------
    url
        Base address of the registry, for example ``http://registry:8081``.
    timeout_s
        Timeout of each request, seconds.
    credentials
        User and password for HTTP basic authentication, if the registry requires it.
    ca_file
        Certificate authorities (PEM) that sign the registry's certificate; by default those of ``certifi``.
    """

    def __init__(
        self,
        url: str,
        timeout_s: float = 10.0,
        *,
        credentials: tuple[str, str] | None = None,
        ca_file: str | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._credentials = credentials
        self._ca_file = ca_file
        self._schemas: dict[int, Any] = {}
        import requests

        self._session = requests.Session()

    def _request(self, method: str, path: str, body: dict[str, Any] | None = None) -> "requests.Response":
        import requests

        try:
            return self._session.request(
                method,
                f"{self._url}{path}",
                data=None if body is None else json.dumps(body),
                headers={"Content-Type": _CONTENT_TYPE, "Accept": _CONTENT_TYPE},
                timeout=self._timeout_s,
                auth=self._credentials,
                # Per request: the environment's REQUESTS_CA_BUNDLE would override a setting of the session.
                verify=self._ca_file or True,
            )
        except requests.exceptions.SSLError as error:
            raise SchemaRegistryError(
                "the schema registry's certificate is not signed by an authority of "
                + (self._ca_file or "the usual ones (set KAFKA_SCHEMA_REGISTRY_CA_FILE or SSL_CA_FILE)")
            ) from error
        except requests.RequestException as error:
            raise SchemaRegistryError(f"schema registry does not answer: {type(error).__name__}") from error

    def schema(self, schema_id: int) -> Any:
        """Return the parsed schema with an id.

        Raises
        ------
        UnknownSchemaError
            If the schema does not exist, or is not a valid Avro schema.
        SchemaRegistryError
            If the registry does not answer, or answers with an error or without a schema.
        """
        if schema_id not in self._schemas:
            what = f"schema {schema_id}"
            answer = self._find(f"/schemas/ids/{schema_id}", what)
            named: dict[str, Any] = {}
            self._read_references(answer, named, set(), what)
            self._schemas[schema_id] = _parse(answer, named, what)
        return self._schemas[schema_id]

    def _find(self, path: str, what: str) -> dict[str, Any]:
        """Return the registry's description of a schema, which holds its text."""
        response = self._request("GET", path)
        if response.status_code == 404:
            raise UnknownSchemaError(f"{what} is not registered")
        if response.status_code in (401, 403):
            raise SchemaRegistryError(
                f"schema registry answered {response.status_code}: check "
                "KAFKA_SCHEMA_REGISTRY_USERNAME and KAFKA_SCHEMA_REGISTRY_PASSWORD"
            )
        if response.status_code != 200:
            raise SchemaRegistryError(f"schema registry answered {response.status_code}")
        try:
            answer = parse_json(response.content)
        except ValueError as error:
            raise SchemaRegistryError(f"schema registry returned no JSON: {error!r:.200}") from error
        if not isinstance(answer, dict) or not isinstance(answer.get("schema"), str):
            raise SchemaRegistryError("schema registry returned no schema")
        return answer

    def _read_references(
        self, answer: dict[str, Any], named: dict[str, Any], seen: set[str], what: str
    ) -> None:
        """Add the named types of other subjects that a schema refers to."""
        references = answer.get("references") or []
        try:
            paths = [
                f"/subjects/{quote(one['subject'], safe='')}/versions/{int(one['version'])}"
                for one in references
            ]
        except (LookupError, TypeError, ValueError) as error:
            raise SchemaRegistryError("schema registry returned unusable references") from error
        for path in paths:
            if path in seen:
                continue
            seen.add(path)
            if len(seen) > _MOST_REFERENCES:
                raise UnknownSchemaError(f"{what} refers to more than {_MOST_REFERENCES} others")
            referred = self._find(path, f"{what}, or what it refers to,")
            self._read_references(referred, named, seen, what)
            _parse(referred, named, what)

    def register(self, subject: str, schema: dict[str, Any]) -> int:
        """Register a schema under a subject, unless it exists, and return its id."""
        response = self._request("POST", f"/subjects/{subject}/versions", {"schema": json.dumps(schema)})
        if response.status_code != 200:
            raise SchemaRegistryError(
                f"schema registry answered {response.status_code}: {response.text[:200]}"
            )
        return int(response.json()["id"])

    def decode(self, message: bytes) -> Any:
        """Decode a framed message with the schema it names.

        Raises
        ------
        ValueError
            If the message is not framed, does not follow its schema, or its schema is unknown.
        SchemaRegistryError
            If the registry does not answer.
        """
        schema_id, datum = unframe(message)
        try:
            return fastavro.schemaless_reader(io.BytesIO(datum), self.schema(schema_id), None)
        except (EOFError, IndexError, KeyError, TypeError, OverflowError, UnicodeDecodeError) as error:
            # The exception of fastavro depends on where the bytes deviate from the schema.
            raise ValueError(f"datum does not follow schema {schema_id}: {error!r}") from error


def _parse(answer: dict[str, Any], named: dict[str, Any], what: str) -> Any:
    """Return a parsed schema, and add its named types."""
    # Registries of the first versions have Avro only, and do not say so.
    kind = answer.get("schemaType") or "AVRO"
    if kind != "AVRO":
        raise UnknownSchemaError(f"{what} is of the type {kind!r:.40}, not Avro")
    try:
        return fastavro.parse_schema(parse_json(answer["schema"]), named_schemas=named)
    except (SchemaParseException, UnknownType, LookupError, TypeError, ValueError, AttributeError) as error:
        # The exception of fastavro depends on the error in the schema.
        raise UnknownSchemaError(f"{what} is not a valid Avro schema: {error!r:.200}") from error
