"""Whether a cluster would take manifests, asked of the APIs' own code."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from prompt_processing.services.software import Software

__all__ = ["ManifestError", "queried_metrics", "validate_manifests"]


class ManifestError(ValueError):
    """Manifests are not what their APIs take; the message has a line for each problem."""


def validate_manifests(files: Sequence[Path], software: Software | None = None) -> str:
    """Check manifests strictly.

    Parameters
    ----------
    files : sequence of `~pathlib.Path`
        YAML documents.
    software : `~prompt_processing.services.software.Software`, optional
        Finds the program of ``tools/validate-manifests``.

    Returns
    -------
    summary : `str`
        How many were checked.

    Raises
    ------
    ManifestError
        Raised with all that is wrong.
    """
    return _run(files, software or Software())


def queried_metrics(files: Sequence[Path], software: Software | None = None) -> set[str]:
    """Return the names of the metrics that alert rules and dashboards ask for.

    Parameters
    ----------
    files, software
        As for `validate_manifests`.

    Raises
    ------
    ManifestError
        Raised if an expression is not PromQL.
    """
    return set(_run(files, software or Software(), "-metrics").split())


def _run(files: Sequence[Path], software: Software, *options: str) -> str:
    command = [
        str(software.manifest_validator().path),
        "-crds",
        str(software.resource_definitions()),
        *options,
        *map(str, files),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode != 0:
        raise ManifestError(done.stderr.strip() or done.stdout.strip())
    return done.stdout.strip()
