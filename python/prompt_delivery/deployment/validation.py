"""Validate manifests with the code of the cluster's APIs."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from prompt_processing.services.checking_tools import CheckingTools

__all__ = ["ManifestError", "queried_metrics", "validate_manifests"]


class ManifestError(ValueError):
    """Manifests are invalid; the message has a line for each error."""


def validate_manifests(files: Sequence[Path], software: CheckingTools | None = None) -> str:
    """Check manifests strictly.

    Parameters
    ----------
    files
        YAML documents.
    software
        Finds the program of ``tools/validate-manifests``.

    Returns
    -------
    summary
        Number of manifests checked.

    Raises
    ------
    ManifestError
        Raised with all errors.
    """
    return _run(files, software or CheckingTools())


def queried_metrics(files: Sequence[Path], software: CheckingTools | None = None) -> set[str]:
    """Return the names of the metrics that alert rules and dashboards query.

    Parameters
    ----------
    files, software
        As for `validate_manifests`.

    Raises
    ------
    ManifestError
        Raised if an expression is not PromQL.
    """
    return set(_run(files, software or CheckingTools(), "-metrics").split())


def _run(files: Sequence[Path], software: CheckingTools, *options: str) -> str:
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
