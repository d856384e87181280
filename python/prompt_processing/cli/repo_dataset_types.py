"""``prompt-dataset-types``: which dataset types a repository lacks, and their registration."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from lsst.daf.butler import Butler

from prompt_processing.butler.types import use_butler_types
from prompt_processing.domain.errors import RepositoryProblemError
from prompt_processing.repository.dataset_types import compare_dataset_types, register_missing
from prompt_processing.settings.pipelines import parse_selection

_LOG = logging.getLogger("lsst.repository.dataset_types")

_CONFIGURATIONS = ("PREPROCESSING_PIPELINES_CONFIG", "MAIN_PIPELINES_CONFIG")


def main(arguments: Sequence[str] | None = None) -> int:
    """Show what is missing, and register it; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="prompt-dataset-types",
        description="Show the dataset types that pipelines need and a repository lacks, and register them.",
        epilog="Exit status: 0 when nothing is missing any more, 1 when something is, 2 when a type is known "
        "otherwise than the pipelines mean it.",
    )
    parser.add_argument(
        "repo",
        nargs="?",
        default=os.environ.get("CENTRAL_REPO"),
        help="the repository (default: CENTRAL_REPO)",
    )
    parser.add_argument(
        "--pipeline",
        action="append",
        default=[],
        metavar="FILE",
        help="a pipeline, or a folder of pipelines; several times (default: those of "
        f"{' and '.join(_CONFIGURATIONS)})",
    )
    parser.add_argument("--register", action="store_true", help="register what is missing without asking")
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s"
    )
    if not options.repo:
        parser.error("name a repository, or set CENTRAL_REPO")
    pipelines = named_pipelines(options.pipeline)
    if not pipelines:
        parser.error(f"name a pipeline, or set {' and '.join(_CONFIGURATIONS)}")
    use_butler_types()
    try:
        with Butler.from_config(options.repo, writeable=options.register or sys.stdin.isatty()) as butler:
            return _compare(butler, options.repo, pipelines, options.register)
    except (RepositoryProblemError, FileNotFoundError) as error:
        _LOG.critical("%s", error)
        return 1


def _compare(butler: Butler, repo: str, pipelines: Sequence[str], register: bool) -> int:
    needed = compare_dataset_types(butler, pipelines)
    print(f"{repo} has {len(needed.present)} of the dataset types of {len(pipelines)} pipeline(s).")
    for name, difference in needed.differing.items():
        print(f"  differs  {name}: {difference}")
    for missing in needed.missing:
        dimensions = ", ".join(missing.dimensions.required) or "no dimensions"
        print(f"  missing  {missing.name}: {missing.storageClass_name} by {dimensions}")
    if needed.differing:
        print(
            "A type cannot be changed: remove the repository's (butler remove-dataset-type), or rename ours."
        )
        return 2
    if not needed.missing:
        print("Nothing is missing.")
        return 0
    if not register and not _agreed(len(needed.missing)):
        print("Nothing was changed; --register registers what is missing.")
        return 1
    register_missing(butler, needed)
    print(f"Registered {len(needed.missing)} dataset type(s).")
    return 0


def _agreed(number: int) -> bool:
    if not sys.stdin.isatty():
        return False
    return input(f"Register {number} dataset type(s)? [y/N] ").strip().lower() in ("y", "yes")


def named_pipelines(named: Sequence[str]) -> list[str]:
    """Return pipeline files: those named, folders taken apart, or else those of the worker's settings."""
    if not named:
        return [
            path
            for variable in _CONFIGURATIONS
            if os.environ.get(variable)
            for path in parse_selection(os.environ[variable]).paths
        ]
    paths: list[str] = []
    for name in named:
        folder = Path(name)
        paths += sorted(str(path) for path in folder.glob("*.yaml")) if folder.is_dir() else [name]
    return paths
