"""The project's version, from its tags; the same that setuptools-scm gives a wheel."""

from __future__ import annotations

import datetime
import re

from .errors import ReleaseError
from .release_version import ReleaseVersion

__all__ = ["TAG_PATTERN", "UNRELEASED", "describe_version"]

TAG_PATTERN = "[0-9]*.[0-9]*.[0-9]*"
"""What a release's tag looks like, as git matches it; ``pyproject.toml`` has the same."""

UNRELEASED = "0.1.0"
"""The version that the first release will have."""

_DESCRIPTION = re.compile(r"(?P<tag>.+)-(?P<distance>\d+)-g(?P<commit>[0-9a-f]+)(?P<dirty>-dirty)?")
_ABBREVIATED = 9


def describe_version(description: str, n_commits: int, commit: str, dirty: bool, today: datetime.date) -> str:
    """Return the version of a commit.

    Parameters
    ----------
    description
        What ``git describe --tags --long`` prints; empty where no release is among the ancestors.
    n_commits
        Number of commits up to this one; counts where there is no release.
    commit
        Full hash.
    dirty
        Whether files differ from the commit.
    today
        Date that distinguishes what was never committed.

    Returns
    -------
    version
        ``X.Y.Z`` for a release; else the version after the last one, with ``.devN+g<commit>``.

    Raises
    ------
    ReleaseError
        Raised if the tag is no release.
    """
    if description:
        found = _DESCRIPTION.fullmatch(description)
        if found is None:
            raise ReleaseError(f"git describes the commit as {description!r}, which names no release.")
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
