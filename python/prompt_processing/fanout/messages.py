"""Decode ``next_visit`` messages."""

from ..domain.errors import MalformedMessageError
from ..domain.visit import NextVisit
from ..transport.schema_registry import SchemaRegistry

__all__ = ["decode_next_visit"]


def decode_next_visit(message: bytes | None, registry: SchemaRegistry | None) -> NextVisit:
    """Decode a message: framed Avro if a registry is configured, plain JSON otherwise.

    Raises
    ------
    MalformedMessageError
        If the message has another format, or is not a visit.
    SchemaRegistryError
        If the registry does not answer; the message may be decodable later.
    """
    if not message:
        raise MalformedMessageError("The message is empty.")
    if registry is None:
        return NextVisit.parse(message)
    try:
        return NextVisit.parse(registry.decode(message))
    except ValueError as error:
        raise MalformedMessageError(f"The message is not Avro of its schema: {error}") from error
