"""Determine the project's version from its tags, as setuptools-scm does for a wheel."""

from __future__ import annotations

import datetime
import re

from .errors import ReleaseError
from .release_version import ReleaseVersion

__all__ = ["TAG_PATTERN", "UNRELEASED", "describe_version"]

TAG_PATTERN = "[0-9]*.[0-9]*.[0-9]*"
"""Glob pattern of releases' tags, the same as in ``pyproject.toml``."""

UNRELEASED = "0.1.0"
"""Version of the first release."""

_DESCRIPTION = re.compile(r"(?P<tag>.+)-(?P<distance>\d+)-g(?P<commit>[0-9a-f]+)(?P<dirty>-dirty)?")
_ABBREVIATED = 9


def describe_version(description: str, n_commits: int, commit: str, dirty: bool, today: datetime.date) -> str:
    """Return the version of a commit.

    Parameters
    ----------
    description
        Output of ``git describe --tags --long``; empty if no ancestor is a release.
    n_commits
        Number of commits up to this one; used if there is no release.
    commit
        Full hash.
    dirty
        Whether files differ from the commit.
    today
        Date, which distinguishes uncommitted states.

    Returns
    -------
    version
        ``X.Y.Z`` for a release; otherwise the version after the last one, with ``.devN+g<commit>``.

    Raises
    ------
    ReleaseError
        Raised if the tag is not a release.
    """
    if description:
        found = _DESCRIPTION.fullmatch(description)
        if found is None:
            raise ReleaseError(f"git describes the commit as {description!r}, which is not a release.")
        release, distance = ReleaseVersion.parse(found["tag"]), int(found["distance"])
        if not distance and not dirty:
            return str(release)
        following = _following(release)
    else:
        following, distance = UNRELEASED, n_commits
    date = f".d{today:%Y%m%d}" if dirty else ""
    return f"{following}.dev{distance}+g{commit[:_ABBREVIATED]}{date}"


def _following(release: ReleaseVersion) -> str:
    if release.is_final:
        return f"{release.major}.{release.minor}.{release.patch + 1}"
    kind, number = release.stage
    return f"{release.major}.{release.minor}.{release.patch}{kind}{number + 1}"
