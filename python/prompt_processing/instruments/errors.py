"""Errors in raws."""

from __future__ import annotations

from prompt_processing.domain.errors import PromptError


class RawError(PromptError):
    """A raw image is unusable."""


class RawFileError(RawError):
    """A file is unreadable, truncated, incomplete or from another detector.

    Parameters
    ----------
    path
        The file.
    problem
        Description of the problem.
    """

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path


class HeaderError(RawError):
    """A header lacks a key or has an unusable value.

    Parameters
    ----------
    key
        FITS keyword or, if several could supply the value, its name.
    problem
        Description of the problem.
    source
        File or object of the header.
    """

    def __init__(self, key: str, problem: str, source: str | None = None) -> None:
        super().__init__(f"{source + ': ' if source else ''}header key {key}: {problem}")
        self.key = key
        self.source = source
