"""Errors of readers of the stack's files."""

from __future__ import annotations

__all__ = ["StackFileError", "UnreadableTypeError"]


class StackFileError(ValueError):
    """A file is not what its type requires; the message names the file and the reason."""


class UnreadableTypeError(TypeError):
    """No reader exists for a type that another stack has written; the message names it."""
