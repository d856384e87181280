"""Exit statuses of all processes."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["ExitCode"]


class ExitCode(IntEnum):
    """Exit statuses, which say whether a restart may help."""

    DONE = 0
    """An orderly end."""
    FAILED = 1
    """A new process may succeed: an outside system was unavailable, or only a restart helps."""
    NOTHING_TO_DO = 2
    """The command line, or the lack of a setting, leaves nothing to do."""
    UNUSABLE_SETTINGS = 3
    """Settings, or the versions of what they name, are unusable: a restart does not help.

    Gunicorn ends as a whole when a worker exits with this one.
    """
    STUCK = 70
    """A worker exited because a visit did not end."""
