"""Pipelines that a command works on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from prompt_processing.settings.pipelines import parse_selection

__all__ = ["CONFIGURATIONS", "chosen_pipelines"]

CONFIGURATIONS = ("PREPROCESSING_PIPELINES_CONFIG", "MAIN_PIPELINES_CONFIG")
"""The worker's settings that name pipelines."""


def chosen_pipelines(named: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """Return pipeline files.

    Parameters
    ----------
    named
        Pipeline files, or folders of pipelines.
    environment
        The worker's settings, used if no pipeline is named.

    Raises
    ------
    ValueError
        Raised if a setting is malformed.
    """
    if not named:
        return [
            path
            for variable in CONFIGURATIONS
            if environment.get(variable)
            for path in parse_selection(environment[variable]).paths
        ]
    paths: list[str] = []
    for name in named:
        folder = Path(name)
        paths += sorted(str(path) for path in folder.glob("*.yaml")) if folder.is_dir() else [name]
    return paths
