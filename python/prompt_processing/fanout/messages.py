"""From the bytes of a ``next_visit`` message to a visit."""

from ..domain.errors import MalformedMessageError
from ..domain.visit import NextVisit
from ..transport.schema_registry import SchemaRegistry

__all__ = ["decode_next_visit"]


def decode_next_visit(message: bytes | None, registry: SchemaRegistry | None) -> NextVisit:
    """Decode a message: framed Avro where a registry is configured, plain JSON where none is.

    Raises
    ------
    MalformedMessageError
        If it is neither, or not a visit.
    SchemaRegistryError
        If the registry cannot be asked now: the same bytes may be decodable later.
    """
    if not message:
        raise MalformedMessageError("The message is empty.")
    if registry is None:
        return NextVisit.parse(message)
    try:
        return NextVisit.parse(registry.decode(message))
    except ValueError as error:
        raise MalformedMessageError(f"The message is not Avro of its schema: {error}") from error
