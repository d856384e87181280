"""Versions of releases: semantic, and as PEP 440 writes them."""

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
    """A version such as ``1.2.3`` or ``2.0.0rc1``; they compare as PEP 440 says.

    Attributes
    ----------
    major, minor, patch : `int`
        The three numbers.
    stage : `tuple` [`str`, `int`]
        Kind and number of a pre-release; ``("z", 0)`` of a final one, which comes after all of them.
    """

    major: int
    minor: int
    patch: int
    stage: tuple[str, int] = field(default=("z", 0))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a version.

        Raises
        ------
        ReleaseError
            Raised if it is not semantic, or not in the form of PEP 440.
        """
        match = _VERSION.fullmatch(text)
        if match is None:
            advice = f"; the tag has no v at the beginning: {text[1:]}" if re.match(r"v\d", text) else ""
            raise ReleaseError(f"{text!r} is no release: use X.Y.Z, or X.Y.ZrcN before it{advice}.")
        major, minor, patch, kind, number = match.groups()
        stage = (kind, int(number)) if kind else ("z", 0)
        return cls(int(major), int(minor), int(patch), stage)

    @property
    def is_final(self) -> bool:
        """Whether it is no pre-release (`bool`)."""
        return self.stage[0] == "z"

    def __str__(self) -> str:
        stage = "" if self.is_final else f"{self.stage[0]}{self.stage[1]}"
        return f"{self.major}.{self.minor}.{self.patch}{stage}"
