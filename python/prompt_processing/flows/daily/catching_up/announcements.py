"""Read what was announced and what workers published, from files or topics that recorded it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from uuid import uuid4

from confluent_kafka import KafkaException, TopicPartition

from prompt_processing.domain.clock import day_obs, tai_to_utc
from prompt_processing.domain.errors import MalformedMessageError
from prompt_processing.domain.json_text import parse_json
from prompt_processing.domain.outcome_message import OutcomeMessage
from prompt_processing.domain.visit import NextVisit
from prompt_processing.flows.errors import FlowError
from prompt_processing.transport.kafka import KafkaSettings, Refusals, make_consumer

from .gaps import Announced, Outcome, Share

__all__ = ["announced_visits", "lines_of", "messages_of", "published_outcomes", "recorded_visit"]

_log = logging.getLogger("lsst.flows.catching_up")

_TIMEOUT_S = 10.0
_SILENCE_S = 60.0
"""Seconds without a message after which a topic that should have more counts as unreadable."""


def lines_of(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file, or of all ``.jsonl`` files in a folder.

    Raises
    ------
    FlowError
        Raised if there is no such file.
    """
    files = sorted(path.rglob("*.jsonl")) if path.is_dir() else [path]
    try:
        for file in files:
            with file.open("rb") as lines:
                yield from (line for line in lines if line.strip())
    except OSError as error:
        raise FlowError(f"{path} cannot be read: {error}") from error


def messages_of(kafka: KafkaSettings, topic: str, begin: float) -> Iterator[bytes]:
    """Yield the messages that a topic has now, from a time on.

    Parameters
    ----------
    begin
        Unix seconds, UTC.

    Raises
    ------
    FlowError
        Raised if the topic cannot be read.
    """
    refusals = Refusals(kafka)
    consumer = make_consumer(kafka, f"prompt-catch-up-{uuid4()}", on_error=refusals, enable_auto_commit=False)
    try:
        found = consumer.list_topics(topic, timeout=_TIMEOUT_S).topics[topic]
        if found.error is not None:
            raise FlowError(f"Kafka topic {topic}: {found.error.str()}")
        wanted = [TopicPartition(topic, one, round(begin * 1000)) for one in found.partitions]
        left = {}
        for place in consumer.offsets_for_times(wanted, timeout=_TIMEOUT_S):
            _, end = consumer.get_watermark_offsets(place, timeout=_TIMEOUT_S)
            # No offset: there is nothing from that time on.
            if 0 <= place.offset < end:
                left[place.partition] = (place, end)
        consumer.assign([place for place, _ in left.values()])
        silent_since = time.monotonic()
        while left:
            message = consumer.poll(0.5)
            if message is None:
                if time.monotonic() - silent_since > _SILENCE_S:
                    raise FlowError(f"Kafka topic {topic}: no message for {_SILENCE_S:.0f} s before its end")
                continue
            if (error := message.error()) is not None:
                raise FlowError(f"Kafka topic {topic}: {error.str()}")
            silent_since = time.monotonic()
            partition, offset = message.partition(), message.offset()
            if partition not in left or offset is None:
                continue
            if offset + 1 >= left[partition][1]:
                del left[partition]
            yield message.value() or b""
    except KafkaException as error:
        # The failed call itself only reports a timeout.
        raise FlowError(f"Kafka topic {topic}: {refusals.reason or error.args[0].str()}") from error
    finally:
        consumer.close()


def recorded_visit(line: bytes) -> NextVisit | None:
    """Read a line of a file: a visit, or a message as ``prompt replay --write`` records it.

    Returns
    -------
    visit
        `None` for a recorded arrival notice.

    Raises
    ------
    MalformedMessageError
        Raised if it is neither.
    """
    try:
        row = parse_json(line)
    except ValueError as error:
        raise MalformedMessageError(f"Not JSON: {error}") from error
    if isinstance(row, Mapping) and "kind" in row and "message" in row:
        return NextVisit.parse(row["message"]) if row["kind"] == "announcement" else None
    return NextVisit.parse(row)


def announced_visits(
    messages: Iterable[bytes],
    decode: Callable[[bytes], NextVisit | None],
    instrument: str,
    night: int,
    detectors_of: Callable[[NextVisit], Iterable[int]],
) -> list[Announced]:
    """Return the announced visits of a night; others are left out, and what is not a visit is logged.

    Parameters
    ----------
    decode
        Reads one message; returns `None` for one that is to be left out.
    detectors_of
        Returns the detectors that a visit is sent to.
    """
    found: dict[str, Announced] = {}
    for message in messages:
        try:
            visit = decode(message)
        except MalformedMessageError as error:
            _log.warning("Not an announcement: %s", error.reason)
            continue
        if visit is None:
            continue
        at = tai_to_utc(visit.private_sndStamp)
        if visit.instrument == instrument and day_obs(at) == night:
            # A visit that was announced again is one visit.
            found[visit.groupId] = Announced(visit, tuple(detectors_of(visit)), at)
    return list(found.values())


def published_outcomes(messages: Iterable[bytes], instrument: str, night: int) -> dict[Share, Outcome]:
    """Return the last outcome of each share of a night."""
    found: dict[Share, Outcome] = {}
    for message in messages:
        try:
            one = OutcomeMessage.parse(message)
        except MalformedMessageError as error:
            _log.warning("Not an outcome: %s", error.reason)
            continue
        if one.event != "ended" or one.instrument != instrument or one.night != night:
            continue
        for detector in one.detectors:
            share = one.group, detector
            if share not in found or found[share].at <= one.at:
                found[share] = Outcome(one.status, one.at, one.reason, one.retry, one.exposures)
    return found
