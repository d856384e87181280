"""Versions of the components of a container or a release, as recorded in the files of a commit."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from .errors import ReleaseError
from .stack_label import StackLabel

__all__ = [
    "FORMER_RECORD",
    "RECORD",
    "RecordedVersions",
    "installed_schemas",
    "locked_versions",
    "read_versions",
    "recorded_versions",
]

RECORD = "python/prompt_delivery/release/schemas.json"
"""File in the project that records the versions of the schemas."""

FORMER_RECORD = "python/prompt_processing/release/schemas.json"
"""The same file in releases before this folder was moved."""

_PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)==([^\s;\\]+)", re.MULTILINE | re.IGNORECASE)
_MIDDLEWARE = "lsst-daf-butler"


@dataclass(frozen=True)
class RecordedVersions:
    """Versions of a commit's components.

    Attributes
    ----------
    middleware
        Version of ``lsst-daf-butler``.
    apdb_schema, alert_schema
        Versions of the schemas.
    packages
        Versions by distribution, as locked.
    """

    middleware: str
    apdb_schema: str
    alert_schema: str
    packages: dict[str, str]

    @property
    def stack(self) -> StackLabel:
        """Label of the middleware."""
        return StackLabel.of_version(self.middleware)


def locked_versions(lock: str) -> dict[str, str]:
    """Return the versions in a lock file's text by distribution; ``a or b`` if they depend on Python's."""
    found: dict[str, list[str]] = {}
    for name, version in _PIN.findall(lock):
        found.setdefault(name.lower(), []).append(version)
    return {name: " or ".join(versions) for name, versions in found.items()}


def read_versions(lock: str, record: str) -> RecordedVersions:
    """Return the versions that the two files of a commit record.

    Parameters
    ----------
    lock, record
        Contents of ``requirements.lock`` and `RECORD`.

    Raises
    ------
    ReleaseError
        Raised if a file does not record them.
    """
    packages = locked_versions(lock)
    if _MIDDLEWARE not in packages:
        raise ReleaseError(f"requirements.lock names no version of {_MIDDLEWARE}.")
    try:
        schemas = json.loads(record)
        return RecordedVersions(packages[_MIDDLEWARE], str(schemas["apdb"]), str(schemas["alert"]), packages)
    except (ValueError, KeyError, TypeError) as error:
        raise ReleaseError(f"{RECORD} does not name the schemas apdb and alert: {error!r}.") from error


def recorded_versions(project: Path) -> RecordedVersions:
    """Return the versions that the files of a checkout record.

    Parameters
    ----------
    project
        Folder of the checkout.

    Raises
    ------
    ReleaseError
        Raised if a file is missing or does not record them.
    """
    try:
        texts = [(project / name).read_text("utf-8") for name in ("requirements.lock", RECORD)]
    except OSError as error:
        raise ReleaseError(f"{project} is not a complete copy of the project: {error}") from error
    return read_versions(*texts)


def installed_schemas() -> dict[str, str]:
    """Return the versions of the installed packages' schemas, for `RECORD`.

    Returns
    -------
    versions
        Versions of ``apdb`` (``lsst-sdm-schemas``) and ``alert`` (``lsst-alert-packet``).
    """
    import yaml
    from lsst.alert.packet import get_latest_schema_version

    apdb = resources.files("lsst.sdm.schemas").joinpath("apdb.yaml").read_text("utf-8")
    version = yaml.safe_load(apdb)["version"]
    alert = ".".join(str(part) for part in get_latest_schema_version())
    return {"alert": alert, "apdb": str(version["current"] if isinstance(version, dict) else version)}
