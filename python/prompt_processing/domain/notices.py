"""Notices of an object store about new objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import unquote_plus

from prompt_processing.domain.errors import MalformedMessageError
from prompt_processing.domain.json_text import parse_json


@dataclass(frozen=True)
class ArrivalNotice:
    """Notice of one new object.

    Attributes
    ----------
    keys : `tuple` [`str`]
        Possible keys of the object, the most likely first. Some stores
        URL-encode a key and others do not, and a plain key may contain ``+``
        or ``%``. Only the form of the key, or the bucket, shows which one is
        right.
    arrival : `float` or `None`
        Time of arrival, Unix seconds, UTC.
    """

    keys: tuple[str, ...]
    arrival: float | None = None


def parse_notices(message: bytes | str) -> list[ArrivalNotice]:
    """Read the records of an S3 event that announce a new object.

    Parameters
    ----------
    message : `bytes` or `str`
        S3 event JSON.

    Returns
    -------
    notices : `list` [`ArrivalNotice`]
        Notices in the order of the records; empty for the store's test event
        and for records that create nothing. Malformed records beside others
        are left out.

    Raises
    ------
    MalformedMessageError
        Raised if the message is not an S3 event, or if none of its records
        can be used because one that creates an object does not name it.
    """
    try:
        event = parse_json(message)
    except ValueError as error:
        raise MalformedMessageError(f"The notice is not JSON: {error}") from error
    if not isinstance(event, Mapping):
        raise MalformedMessageError(f"The notice is not a JSON object but a {type(event).__name__}.")
    if event.get("Event") == "s3:TestEvent":
        return []
    records = event.get("Records")
    if not isinstance(records, list):
        raise MalformedMessageError("The notice has no Records.")
    notices: list[ArrivalNotice] = []
    problem: MalformedMessageError | None = None
    for record in records:
        try:
            notice = _parse_record(record)
        except MalformedMessageError as error:
            problem = problem or error
        else:
            notices += [] if notice is None else [notice]
    if problem is not None and not notices:
        raise problem
    return notices


def _parse_record(record: Any) -> ArrivalNotice | None:
    try:
        name = record["eventName"]
        if not name.removeprefix("s3:").startswith("ObjectCreated"):
            return None
        key = record["s3"]["object"]["key"]
        stamp = record.get("eventTime")
    except (TypeError, KeyError, AttributeError) as error:
        raise MalformedMessageError(f"A record of the notice lacks {error}.") from error
    if not isinstance(key, str) or not key:
        raise MalformedMessageError("A record of the notice has no object key.")
    decoded = unquote_plus(key)
    return ArrivalNotice(keys=(key,) if decoded == key else (decoded, key), arrival=_unix_time(stamp))


def _unix_time(stamp: Any) -> float | None:
    try:
        when = datetime.fromisoformat(stamp)
    except (TypeError, ValueError):
        # The time is optional; a notice without it is still useful.
        return None
    return when.timestamp() if when.tzinfo is not None else None
