"""Labels of a container, which record its source."""

from __future__ import annotations

import datetime

from .recorded_versions import RecordedVersions

__all__ = ["NAMESPACE", "image_labels"]

NAMESPACE = "org.lsst.prompt-processing"
"""Prefix of the project's own labels."""

_TITLES = {
    "base": ("prompt-base", "Python, LSST middleware and science libraries of Prompt Processing"),
    "service": ("prompt-service", "Prompt Processing: every process of the service, by its command"),
    "board": ("prompt-board", "Prompt Processing with the night board"),
    "navigator": ("prompt-navigator", "Prompt Processing with the navigator and the night board"),
    "demo": ("prompt-demo", "Prompt Processing with the simulated night of its demo"),
}


def image_labels(
    kind: str,
    versions: RecordedVersions,
    version: str,
    commit: str,
    committed: datetime.datetime,
    source: str = "",
) -> dict[str, str]:
    """Return the labels of a container.

    Parameters
    ----------
    kind
        ``base``, ``service``, ``board``, ``navigator`` or ``demo``.
    versions
        Versions recorded in the commit.
    version
        Version of the project.
    commit
        Full hash, with ``-dirty`` if files differ from it.
    committed
        Time of the commit. The time of the build would make equal builds differ.
    source
        URL of the project.

    Returns
    -------
    labels
        OCI labels, and the project's below `NAMESPACE`.
    """
    title, description = _TITLES[kind]
    labels = {
        "org.opencontainers.image.title": title,
        "org.opencontainers.image.description": description,
        "org.opencontainers.image.licenses": "GPL-3.0-or-later",
        "org.opencontainers.image.version": version,
        "org.opencontainers.image.revision": commit,
        "org.opencontainers.image.created": committed.astimezone(datetime.UTC).isoformat(),
    }
    if kind == "base":
        # Containers inherit the labels of their base: a service on an older base has that base's middleware.
        labels |= {
            f"{NAMESPACE}.stack": versions.stack.name,
            f"{NAMESPACE}.middleware": versions.middleware,
            f"{NAMESPACE}.apdb-schema": versions.apdb_schema,
            f"{NAMESPACE}.alert-schema": versions.alert_schema,
        }
    if source:
        labels["org.opencontainers.image.source"] = source
    return labels
