"""What can be wrong with a raw."""

from __future__ import annotations

from prompt_processing.domain.errors import PromptError


class RawError(PromptError):
    """A raw image that cannot be used."""


class RawFileError(RawError):
    """A file that is unreadable, truncated, incomplete or of another detector.

    Parameters
    ----------
    path : `str`
        The file.
    problem : `str`
        What is wrong with it.
    """

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path


class HeaderError(RawError):
    """A header that lacks a key or holds an unusable value.

    Parameters
    ----------
    key : `str`
        The FITS keyword or, where several could give it, what is missing.
    problem : `str`
        What is wrong with it.
    source : `str`, optional
        File or object the header is from.
    """

    def __init__(self, key: str, problem: str, source: str | None = None) -> None:
        super().__init__(f"{source + ': ' if source else ''}header key {key}: {problem}")
        self.key = key
        self.source = source
