"""Numbers of detectors by state, as HTML."""

from __future__ import annotations

from collections.abc import Mapping

from prompt_processing.nights.records import State

from ..colours import STATE_MARKERS, STATES
from ..text import escaped

__all__ = ["chip", "state_bar", "state_counts"]

_WIDTH = 120


def chip(state: str) -> str:
    """Return a coloured sign and the name of a state."""
    colour = STATES.get(state, "#ffffff")
    sign = STATE_MARKERS.get(state, "")
    return f'<span class="chip" style="background:{colour}">{sign}</span>{escaped(state)}'


def state_counts(states: Mapping[State, int]) -> str:
    """Return the numbers of the states that occur, in words."""
    return ", ".join(f"{number} {state.value}" for state, number in states.items() if number) or "none"


def state_bar(states: Mapping[State, int]) -> str:
    """Return a bar with the share of each state, which is named for those who do not see it."""
    total = sum(states.values())
    words = state_counts(states)
    if not total:
        return words
    parts = "".join(
        f'<span style="display:inline-block;height:12px;width:{_WIDTH * number / total:.1f}px;'
        f'background:{STATES[state.value]}"></span>'
        for state, number in states.items()
        if number
    )
    return f'<span role="img" aria-label="{escaped(words)}">{parts}</span> <small>{words}</small>'
