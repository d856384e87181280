"""Paths of requests that no page has, whatever serves it."""

from __future__ import annotations

__all__ = ["is_usual_path"]

_LONGEST = 1000


def is_usual_path(path: str) -> bool:
    """Return whether a path, whose escapes are decoded, can be that of a page or a file.

    Frameworks pass paths with a null character, or with bytes that are not UTF-8, to the file system, which
    raises exceptions for them. A process answers such requests, and overlong ones, with 404.
    """
    return len(path) <= _LONGEST and path.isprintable() and "\ufffd" not in path
