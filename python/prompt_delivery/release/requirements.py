"""Select the part of the lock file that a container needs, without the demo's and developers' packages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib import metadata

from .errors import ReleaseError

__all__ = ["PROJECT", "needed_distributions", "select_from_lock"]

PROJECT = "prompt-processing"

_PYTHON_OF_CONTAINERS = {"python_version": "3.13", "python_full_version": "3.13.5"}
"""Python of Debian 13, which may have other requirements than the Python that runs this."""

_BEGINNING = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==")


def needed_distributions(extras: Iterable[str] = (), distribution: str = PROJECT) -> set[str]:
    """Return the names of all distributions that an installed one requires, directly or indirectly.

    Parameters
    ----------
    extras
        Extras of that distribution.
    distribution
        Distribution to start from; excluded from the result.

    Returns
    -------
    names
        Normalised names, for this Python and for that of the containers.

    Raises
    ------
    ReleaseError
        Raised if the distribution is not installed.
    """
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    begin = canonicalize_name(distribution)
    found: set[tuple[str, str]] = set()
    waiting = [(begin, extra) for extra in ("", *extras)]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in found:
            continue
        found.add((name, extra))
        try:
            lines = metadata.requires(name) or []
        except metadata.PackageNotFoundError as error:
            if name == begin:
                raise ReleaseError(f"{name} is not installed here: run bin/test once.") from error
            # Required only by the containers' Python.
            continue
        for requirement in map(Requirement, lines):
            marker = requirement.marker
            if marker is None or any(
                marker.evaluate({"extra": extra, **python}) for python in ({}, _PYTHON_OF_CONTAINERS)
            ):
                needed = canonicalize_name(requirement.name)
                waiting += [(needed, each) for each in ("", *requirement.extras)]
    return {str(name) for name, _ in found} - {str(begin)}


def select_from_lock(lock: str, names: Iterable[str]) -> str:
    """Return the entries of a lock file for some distributions, with hashes.

    Parameters
    ----------
    lock
        Text of the lock file.
    names
        Normalised names.

    Raises
    ------
    ReleaseError
        Raised if a distribution is not locked.
    """
    wanted = set(names)
    chosen = [(name, entry) for name, entry in _entries(lock) if name in wanted]
    if missing := wanted - {name for name, _ in chosen}:
        raise ReleaseError(
            f"requirements.lock lacks {', '.join(sorted(missing))}: update it with bin/refresh-lock."
        )
    return "".join(entry for _, entry in chosen)


def _entries(lock: str) -> Iterator[tuple[str, str]]:
    name, lines = "", list[str]()
    for line in lock.splitlines(keepends=True):
        if match := _BEGINNING.match(line):
            if name:
                yield name, "".join(lines)
            name, lines = re.sub(r"[-_.]+", "-", match[1]).lower(), []
        lines.append(line)
    if name:
        yield name, "".join(lines)
