"""The address of a page is its whole state, and a wrong one does no harm."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prompt_processing.navigator.detector.state import DetectorState
from prompt_processing.navigator.nights.night_view import NightState
from prompt_processing.navigator.objects.view import ObjectState
from prompt_processing.navigator.url_state import from_query, link, to_query

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
IDS = st.none() | st.integers(-(2**63) + 1, 2**63 - 1)


@settings(max_examples=40, deadline=None)
@given(
    visit=st.text(max_size=40),
    detector=IDS,
    x=st.none() | NUMBERS,
    masks=st.lists(st.text("ABC_", min_size=1), max_size=4).map(tuple),
    curve=st.sampled_from(["linear", "asinh", "sqrt", "log"]),
    source=IDS,
)
def test_detector_state_survives_its_address(**values: Any) -> None:
    state = DetectorState(**values)
    assert from_query(DetectorState, to_query(state)) == (state, [])


@settings(max_examples=40, deadline=None)
@given(ra=NUMBERS, radius=NUMBERS, band=st.text(max_size=20), object=IDS)
def test_object_state_survives_its_address(**values: Any) -> None:
    state = ObjectState(**values)
    assert from_query(ObjectState, to_query(state)) == (state, [])


def test_default_state_has_no_query() -> None:
    assert to_query(NightState()) == ""


@pytest.mark.parametrize(
    "query",
    [
        "detector=x",
        "detector=١",
        "detector=1_0",
        "x=nan",
        "x=inf",
        "scale=mad",
        "mode=" + "a" * 9000,
        "size=1e999",
    ],
)
def test_wrong_value_gives_the_default_and_a_sentence(query: str) -> None:
    state, problems = from_query(DetectorState, "?" + query)
    assert state == DetectorState()
    assert len(problems) == 1
    assert query.partition("=")[0] in problems[0]
    assert len(problems[0]) < 300


def test_too_many_parameters_are_refused() -> None:
    state, problems = from_query(DetectorState, "&".join(f"a{n}=1" for n in range(1000)))
    assert state == DetectorState()
    assert problems


def test_unknown_parameters_are_ignored() -> None:
    assert from_query(DetectorState, "?utm=1&detector=3") == (DetectorState(detector=3), [])


def test_link_escapes_its_parameters() -> None:
    address = link("detector", visit='"><script>', detector=None)
    assert address == "detector?visit=%22%3E%3Cscript%3E"
