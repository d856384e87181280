"""Write the notes of a release, and check whether it may be made."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .errors import ReleaseError
from .recorded_versions import RecordedVersions
from .release_version import ReleaseVersion

__all__ = ["PreviousRelease", "changes_of", "check_release", "previous_release", "release_notes"]

_SHOWN = (
    "lsst-daf-butler", "lsst-pipe-base", "lsst-dax-apdb", "lsst-sdm-schemas", "lsst-alert-packet",
    "lsst-resources",
    "numpy", "numba", "scipy", "astropy", "confluent-kafka",
)  # fmt: skip


@dataclass(frozen=True)
class PreviousRelease:
    """Release that precedes another.

    Attributes
    ----------
    version
        Version of the release.
    versions
        Versions of its components.
    """

    version: ReleaseVersion
    versions: RecordedVersions


def previous_release(version: ReleaseVersion, tags: Sequence[str]) -> ReleaseVersion | None:
    """Return the final release before a version; `None` if it is the first.

    Parameters
    ----------
    version
        The coming release.
    tags
        All tags of the project; tags that are not releases are ignored.

    Raises
    ------
    ReleaseError
        Raised if the version is already released.
    """
    released: list[ReleaseVersion] = []
    for tag in tags:
        try:
            released.append(ReleaseVersion.parse(tag))
        except ReleaseError:
            continue
    # Release candidates are ignored: schemas may change between them.
    return max((each for each in released if each.is_final and each < version), default=None)


def check_release(
    version: ReleaseVersion, versions: RecordedVersions, previous: PreviousRelease | None
) -> None:
    """Check that a release's version announces what it changes.

    Parameters
    ----------
    version
        Of the release.
    versions
        Versions of its components.
    previous
        The final release before it.

    Raises
    ------
    ReleaseError
        Raised if a schema changes without a new major version.
    """
    if previous is None or version.major > previous.version.major:
        return
    changed = _changed_schemas(versions, previous.versions)
    if changed:
        was = previous.version
        raise ReleaseError(
            f"{' and '.join(changed)} since {was}: readers must change too, so this must be "
            f"release {was.major + 1}.0.0, not {version}."
        )


def changes_of(version: ReleaseVersion, changelog: str) -> str:
    """Return the section about a release in a change log.

    Parameters
    ----------
    version
        Of the release.
    changelog
        Markdown with one heading ``## X.Y.Z`` per release.

    Returns
    -------
    section
        Section without its heading; ``## Unreleased`` if the release has none yet.
    """
    sections: dict[str, str] = {}
    for part in re.split(r"^## ", changelog, flags=re.MULTILINE)[1:]:
        heading, _, text = part.partition("\n")
        sections[heading.split()[0].strip("[]")] = text.strip()
    return sections.get(str(version), sections.get("Unreleased", ""))


def release_notes(
    version: ReleaseVersion,
    versions: RecordedVersions,
    previous: PreviousRelease | None,
    changes: str = "",
    commits: Sequence[str] = (),
) -> str:
    """Write the notes of a release.

    Parameters
    ----------
    version
        Of the release.
    versions
        Versions of its components.
    previous
        The preceding final release.
    changes
        Changes, in Markdown.
    commits
        Subjects of the commits since the previous release.

    Returns
    -------
    notes
        In Markdown.
    """
    old = previous.versions if previous else None
    since = f"since {previous.version}" if previous else "(first release)"
    lines = [f"# {version}", ""]
    if changes.strip():
        lines += [changes.strip(), ""]
    lines += ["## Made of", "", f"| | version | {since} |", "|---|---|---|"]
    lines += [
        _row("Middleware", versions.stack.name, old.stack.name if old else None),
        _row("APDB schema", versions.apdb_schema, old.apdb_schema if old else None),
        _row("Alert schema", versions.alert_schema, old.alert_schema if old else None),
    ]
    for name in _SHOWN:
        if name in versions.packages:
            lines.append(_row(f"`{name}`", versions.packages[name], old.packages.get(name) if old else None))
    if old is not None and _changed_schemas(versions, old):
        lines += ["", "**A schema changed**: " + "; ".join(_changed_schemas(versions, old)) + "."]
    if commits:
        lines += ["", f"## Commits {since}", "", *(f"- {summary}" for summary in commits)]
    return "\n".join(lines) + "\n"


def _row(what: str, new: str, old: str | None) -> str:
    if old is None:
        change = "new"
    elif old == new:
        change = "unchanged"
    else:
        change = f"**changed** from {old}"
    return f"| {what} | {new} | {change} |"


def _changed_schemas(new: RecordedVersions, old: RecordedVersions) -> list[str]:
    pairs = (
        ("the APDB schema", old.apdb_schema, new.apdb_schema),
        ("the alert schema", old.alert_schema, new.alert_schema),
    )
    return [f"{what} changed from {before} to {after}" for what, before, after in pairs if before != after]
