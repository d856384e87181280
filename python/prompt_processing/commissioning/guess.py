"""A guessed value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Guess"]


@dataclass(frozen=True, slots=True)
class Guess:
    """A value, and what it rests on.

    Attributes
    ----------
    value
        The value for the description.
    why
        What it rests on, for a comment.
    doubt
        How to find out, if it is only guessed; empty if a header says so.
    """

    value: Any
    why: str = ""
    doubt: str = ""
