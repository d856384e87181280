"""CloudEvents over HTTP, in structured and in binary mode."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from prompt_processing.domain.errors import MalformedMessageError
from prompt_processing.domain.json_text import parse_json

_REQUIRED = ("specversion", "id", "source", "type")


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
        Raised if the request is not a CloudEvent, or has no data.
    """
    lowered = {name.lower(): value for name, value in headers.items()}
    content_type = lowered.get("content-type", "").split(";")[0].strip().lower()
    if content_type == "application/cloudevents+json":
        return _structured(body)
    if content_type.startswith("application/cloudevents"):
        raise MalformedMessageError(f"CloudEvents of type {content_type} are not supported.")
    missing = [name for name in _REQUIRED if not lowered.get(f"ce-{name}")]
    if missing:
        raise MalformedMessageError(f"Not a CloudEvent: no ce-{', no ce-'.join(missing)}.")
    if not body.strip():
        raise MalformedMessageError("The CloudEvent has no data.")
    return _decode(body)


def _structured(body: bytes) -> Any:
    event = _decode(body)
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
