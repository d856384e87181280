"""Invalid inputs for the tests under ``tests/fuzz``.

A decoder refuses pure noise at once. Most inputs here are therefore valid ones with a small defect: a field
replaced, left out or doubled, a byte flipped, the end cut off.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

EXAMPLES = {"ci": 500, "nightly": 10_000}
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "ci")
"""``nightly`` tries twenty times as many inputs, different ones each time."""

DEADLINE_MS = 3000
"""Longest time of a decoder for one input; generous, because test machines are shared."""


def many_inputs(share: float = 1.0) -> Callable[[Any], Any]:
    """Set a test's number of inputs from the profile, or a share where several tests try one decoder."""
    return settings(
        max_examples=int(EXAMPLES[PROFILE] * share),
        deadline=DEADLINE_MS,
        # The same inputs on each commit, so that a failure is due to the commit; the nightly run explores.
        derandomize=PROFILE == "ci",
        database=None,
        print_blob=True,
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.function_scoped_fixture,
        ],
    )


NASTY_TEXT = st.sampled_from(
    [
        "",
        " ",
        "\0",
        "None",
        "nan",
        "-inf",
        "1e400",
        "..",
        "../../etc/passwd",
        "%2e%2e%2f",
        "a/b",
        "[1, 2]",
        "\ud800",
        "\u202e",
        "é" * 300,
        "x" * 5000,
        "9" * 5000,
        "[" * 3000,
        "{" * 3000,
        "${HOME}",
        "$NOT_SET_ANYWHERE",
        "2001-99-99",
        "1_0:99",
        "0b_",
    ]
)
NASTY_NUMBERS: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from([0, -1, 1, 2**31, 2**63, -(2**63) - 1, 10**30, 10**400]),
    st.sampled_from([0.0, -0.0, 1e308, -1e308, 5e-324, 1e17, float("nan"), float("inf"), float("-inf")]),
    st.integers(),
    st.floats(),
)
SCALARS = st.one_of(st.none(), st.booleans(), NASTY_NUMBERS, NASTY_TEXT, st.text(max_size=20))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.text(max_size=8), inner, max_size=4),
    ),
    max_leaves=8,
)


@st.composite
def spoilt(draw: Any, good: Mapping[str, Any], values: st.SearchStrategy[Any] = VALUES) -> dict[str, Any]:
    """Corrupt up to three fields of a valid mapping."""
    result = dict(good)
    for _ in range(draw(st.integers(0, 3))):
        name = draw(st.one_of(st.sampled_from(sorted(good)), st.text(max_size=10)))
        if draw(st.booleans()):
            result[name] = draw(values)
        else:
            result.pop(name, None)
    return result


@st.composite
def damaged(draw: Any, good: bytes, reach: int | None = None) -> bytes:
    """Damage up to eight of the first ``reach`` bytes, or of all, and possibly truncate the end."""
    content = bytearray(good)
    end = len(content) if reach is None else min(reach, len(content))
    for _ in range(draw(st.integers(0, 8))):
        content[draw(st.integers(0, end - 1))] = draw(st.integers(0, 255))
    if draw(st.integers(0, 3)) == 0:
        del content[draw(st.integers(0, len(content))) :]
    return bytes(content)


def as_json(value: Any) -> bytes:
    """Write JSON as careless senders do: NaN and lone surrogates included."""
    return json.dumps(value, allow_nan=True).encode()


def json_bytes(good: Mapping[str, Any]) -> st.SearchStrategy[bytes]:
    """Make bytes that may be the JSON of an almost valid mapping."""
    return st.one_of(
        spoilt(good).map(as_json),
        spoilt(good).map(lambda message: as_json(json.dumps(message))),
        VALUES.map(as_json),
        damaged(as_json(dict(good))),
        st.binary(max_size=200),
        st.sampled_from([b"[" * 100_000, b'{"a":' * 100_000, b'"' + b"\\ud800" * 10 + b'"', b"1" * 5000]),
        # An encoding that the JSON reader detects.
        spoilt(good).map(lambda message: as_json(message).decode().encode("utf-16")),
    )


VISIT: dict[str, Any] = {
    "salIndex": 2,
    "scriptSalIndex": 100033,
    "groupId": "2025-06-10T08:18:28.123",
    "coordinateSystem": 2,
    "position": [155.5, -4.25],
    "startTime": 1749543578.0,
    "rotationSystem": 2,
    "cameraAngle": 12.5,
    "filters": "r_57",
    "dome": 2,
    "duration": 5.0,
    "nimages": 1,
    "instrument": "LSSTCam",
    "survey": "wide",
    "totalCheckpoints": 1,
    "private_sndStamp": 1749543576.5,
}
"""A valid ``next_visit``."""

SHARE: dict[str, Any] = {**VISIT, "detector": 94}
"""The visit of one detector."""

VISIT_SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "logevent_nextVisit",
    "fields": [
        {"name": "salIndex", "type": "long"},
        {"name": "scriptSalIndex", "type": "long"},
        {"name": "groupId", "type": "string"},
        {"name": "coordinateSystem", "type": "long"},
        {"name": "position", "type": {"type": "array", "items": "double"}},
        {"name": "startTime", "type": "double"},
        {"name": "rotationSystem", "type": "long"},
        {"name": "cameraAngle", "type": "double"},
        {"name": "filters", "type": ["null", "string"]},
        {"name": "dome", "type": "long"},
        {"name": "duration", "type": "double"},
        {"name": "nimages", "type": "long"},
        {"name": "instrument", "type": "string"},
        {"name": "survey", "type": "string"},
        {"name": "totalCheckpoints", "type": "long"},
        {"name": "private_sndStamp", "type": "double"},
    ],
}
"""Schema of the summit's registry."""
