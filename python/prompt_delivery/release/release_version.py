"""Versions of releases: semantic versions in the notation of PEP 440."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Self

from .errors import ReleaseError

__all__ = ["ReleaseVersion"]

_NUMBER = r"(0|[1-9]\d*)"
_VERSION = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:(a|b|rc){_NUMBER})?")


@dataclass(frozen=True, order=True)
class ReleaseVersion:
    """Version such as ``1.2.3`` or ``2.0.0rc1``, ordered as in PEP 440.

    Attributes
    ----------
    major, minor, patch
        The three numbers.
    stage
        Kind and number of a pre-release; ``("z", 0)`` for a final release, which sorts after them.
    """

    major: int
    minor: int
    patch: int
    stage: tuple[str, int] = field(default=("z", 0))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a version.

        Raises
        ------
        ReleaseError
            Raised if it is not semantic, or not in the notation of PEP 440.
        """
        match = _VERSION.fullmatch(text)
        if match is None:
            advice = f"; the tag has no v at the beginning: {text[1:]}" if re.match(r"v\d", text) else ""
            raise ReleaseError(f"{text!r} is not a release: use X.Y.Z, or X.Y.ZrcN for a candidate{advice}.")
        major, minor, patch, kind, number = match.groups()
        stage = (kind, int(number)) if kind else ("z", 0)
        return cls(int(major), int(minor), int(patch), stage)

    @property
    def is_final(self) -> bool:
        """Whether the release is final, not a pre-release."""
        return self.stage[0] == "z"

    def __str__(self) -> str:
        stage = "" if self.is_final else f"{self.stage[0]}{self.stage[1]}"
        return f"{self.major}.{self.minor}.{self.patch}{stage}"
