"""Find the extra of the package that provides a missing module."""

from __future__ import annotations

import re
from importlib import metadata

__all__ = ["extra_of", "missing_extra"]

_DISTRIBUTION = "prompt-processing"
_REQUIREMENT = re.compile(r"^(?P<name>[A-Za-z0-9._-]+).*;.*\bextra == ['\"](?P<extra>[A-Za-z0-9_-]+)['\"]")


def missing_extra(error: ModuleNotFoundError, command: str) -> str | None:
    """Return a sentence that names the extra to install; `None` if no extra provides the module.

    Parameters
    ----------
    error
        The error that Python raised.
    command
        The command that needs the module.
    """
    module = (error.name or "").partition(".")[0]
    extra = extra_of(module)
    if extra is None:
        return None
    return f"{command} needs {module}: install it with  pip install '{_DISTRIBUTION}[{extra}]'"


def extra_of(module: str) -> str | None:
    """Return the extra that provides a top-level module; `None` if none does."""
    try:
        lines = metadata.requires(_DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return None
    for line in lines:
        found = _REQUIREMENT.match(line)
        if found and _normal(found["name"]) == _normal(module):
            return found["extra"]
    return None


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
