"""Colours that colour-blind people can tell apart (Okabe and Ito 2008), by meaning."""

from __future__ import annotations

__all__ = ["BANDS", "BAND_MARKERS", "CATEGORIES", "MASKS", "STATES", "STATE_MARKERS"]

_BLACK, _ORANGE, _SKY, _GREEN = "#000000", "#e69f00", "#56b4e9", "#009e73"
_YELLOW, _BLUE, _RED, _PURPLE = "#f0e442", "#0072b2", "#d55e00", "#cc79a7"

CATEGORIES = (_BLUE, _ORANGE, _GREEN, _PURPLE, _SKY, _RED, _YELLOW, _BLACK)

STATES = {
    "waiting": "#d9dee3",
    "processing": _SKY,
    "late": _YELLOW,
    "done": _GREEN,
    "skipped": "#9aa4ae",
    "failed": _RED,
}

STATE_MARKERS = {
    "waiting": "·",
    "processing": "▸",
    "late": "!",
    "done": "✓",
    "skipped": "–",
    "failed": "×",
}
"""A mark for each state: colour alone does not say it."""

BANDS = {"u": _PURPLE, "g": _BLUE, "r": _GREEN, "i": _ORANGE, "z": _RED, "y": _BLACK}
BAND_MARKERS = {
    "u": "diamond",
    "g": "circle",
    "r": "square",
    "i": "triangle",
    "z": "inverted_triangle",
    "y": "hex",
}

MASKS = {
    "DETECTED": _SKY,
    "DETECTED_NEGATIVE": _PURPLE,
    "SAT": _RED,
    "SAT_TEMPLATE": _ORANGE,
    "CR": _YELLOW,
    "STREAK": _GREEN,
    "BAD": "#b00020",
    "NO_DATA": "#7a4b00",
    "EDGE": "#8a8f98",
    "INTRP": _BLUE,
    "SUSPECT": "#ffb6a3",
    "CROSSTALK": "#7fd8be",
    "INJECTED": "#b7e300",
    "INJECTED_TEMPLATE": "#6d7d00",
}
"""Colour of each mask plane over a grey image."""
