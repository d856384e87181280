"""Which part of the lock file a container needs: neither the demo's nor the developers' packages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib import metadata

from .errors import ReleaseError

__all__ = ["PROJECT", "needed_distributions", "select_from_lock"]

PROJECT = "prompt-processing"

_PYTHON_OF_CONTAINERS = {"python_version": "3.13", "python_full_version": "3.13.5"}
"""Debian 13's, which may need others than the Python that runs this."""

_BEGINNING = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==")


def needed_distributions(extras: Iterable[str] = (), distribution: str = PROJECT) -> set[str]:
    """Return the names of all distributions that an installed one needs, directly or not.

    Parameters
    ----------
    extras : iterable of `str`, optional
        Of that distribution.
    distribution : `str`, optional
        Where to begin; it is not among those that are returned.

    Returns
    -------
    names : `set` [`str`]
        In their normal form: what this Python needs, and what that of the containers does.

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
            # Only the containers' Python needs it.
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
    """Return the entries of a lock file for some distributions, hashes included.

    Parameters
    ----------
    lock : `str`
        Text of the lock file.
    names : iterable of `str`
        In their normal form.

    Raises
    ------
    ReleaseError
        Raised if one is not locked.
    """
    wanted = set(names)
    chosen = [(name, entry) for name, entry in _entries(lock) if name in wanted]
    if missing := wanted - {name for name, _ in chosen}:
        raise ReleaseError(f"requirements.lock does not name {', '.join(sorted(missing))}: refresh it.")
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
