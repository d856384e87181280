"""CloudEvents over HTTP, in structured and in binary mode, and batches of one."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from email.message import Message
from typing import Any

from prompt_processing.domain.errors import MalformedMessageError
from prompt_processing.domain.json_text import parse_json

_REQUIRED = ("specversion", "id", "source", "type")
_JSON_ENCODINGS = {"utf-8", "utf8", "utf-16", "utf-32", "us-ascii", "ascii"}
"""Encodings that JSON itself shows."""
_OTHER_ENCODINGS = {"iso-8859-1", "latin-1", "latin1", "iso-8859-15", "windows-1252"}
"""Further ones that are read; decoders of some rarer ones are slow on purpose-made bodies."""


def event_data(headers: Mapping[str, str], body: bytes) -> Any:
    """Return the data of a CloudEvent.

    Parameters
    ----------
    headers : mapping
        HTTP headers; names in any case.
    body : `bytes`
        HTTP body.

    Returns
    -------
    data
        The parsed JSON: an object, or a string that may hold JSON itself.

    Raises
    ------
    MalformedMessageError
        Raised if the request is not a CloudEvent, or has no data, or is a batch of several, which have one
        answer but several outcomes.
    """
    lowered = {name.lower(): value for name, value in headers.items()}
    content_type, body = _in_unicode(lowered.get("content-type", ""), body)
    if content_type == "application/cloudevents+json":
        return _structured(_decode(body))
    if content_type == "application/cloudevents-batch+json":
        events = _decode(body)
        if not isinstance(events, list) or len(events) != 1:
            raise MalformedMessageError("A batch of CloudEvents must hold one: send each visit by itself.")
        return _structured(events[0])
    if content_type.startswith("application/cloudevents"):
        raise MalformedMessageError(f"CloudEvents of type {content_type} are not supported.")
    missing = [name for name in _REQUIRED if not lowered.get(f"ce-{name}")]
    if missing:
        raise MalformedMessageError(f"Not a CloudEvent: no ce-{', no ce-'.join(missing)}.")
    if not body.strip():
        raise MalformedMessageError("The CloudEvent has no data.")
    return _decode(body)


def _in_unicode(content_type: str, body: bytes) -> tuple[str, bytes]:
    """Return the type alone, in lower case, and the body in an encoding that JSON shows."""
    message = Message()
    message["content-type"] = content_type or "application/octet-stream"
    encoding = message.get_content_charset()
    if encoding is not None and encoding not in _JSON_ENCODINGS:
        if encoding not in _OTHER_ENCODINGS:
            raise MalformedMessageError(f"The encoding {encoding[:40]!r} is not supported: send UTF-8.")
        body = body.decode(encoding, errors="replace").encode()
    return message.get_content_type(), body


def _structured(event: Any) -> Any:
    if not isinstance(event, Mapping):
        raise MalformedMessageError("Not a CloudEvent: the body is not a JSON object.")
    missing = [name for name in _REQUIRED if not event.get(name)]
    if missing:
        raise MalformedMessageError(f"Not a CloudEvent: no {', no '.join(missing)}.")
    data = event.get("data")
    if data is None and event.get("data_base64"):
        try:
            return _decode(base64.b64decode(event["data_base64"], validate=True))
        except (binascii.Error, TypeError, ValueError) as error:
            raise MalformedMessageError(f"The CloudEvent's data_base64 cannot be read: {error}") from error
    if data is None or data == "":
        raise MalformedMessageError("The CloudEvent has no data.")
    return data


def _decode(body: bytes) -> Any:
    try:
        return parse_json(body)
    except ValueError as error:
        raise MalformedMessageError(f"The body is not JSON: {error}") from error
