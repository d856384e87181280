"""Errors of readers of the stack's files."""

from __future__ import annotations

from ..damaged_files import DamagedFileError

__all__ = ["StackFileError", "UnreadableTypeError"]


class StackFileError(DamagedFileError):
    """A file of the stack is not what its type requires; the message names the file and the reason."""


class UnreadableTypeError(TypeError):
    """No reader exists for a type that another stack has written; the message names it."""
