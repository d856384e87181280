"""``prompt-inspect``: what a pod's workers hold, what runs there, and with which settings."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from prompt_processing.butler.deployment import deployment_id
from prompt_processing.operators.local_content import RepositoryContent, find_repositories, read_content
from prompt_processing.operators.settings_in_force import settings_in_force
from prompt_processing.settings.environment import SettingsError
from prompt_processing.settings.worker import Settings
from prompt_processing.telemetry.running_version import RunningVersion

_DEFAULT_LOCAL_REPOS = "/tmp"


def main(arguments: Sequence[str] | None = None) -> int:
    """Look into the pod in which it runs.

    Parameters
    ----------
    arguments : sequence of `str`, optional
        Of the command line.

    Returns
    -------
    status : `int`
        0; 1 if the settings are not usable, or a repository cannot be read.
    """
    options = _parser().parse_args(arguments)
    parts = {name for name in ("repository", "versions", "settings") if getattr(options, name)}
    parts = parts or {"repository", "versions", "settings"}
    found: dict[str, Any] = {}
    problems: list[str] = []
    if "versions" in parts:
        found["versions"] = RunningVersion.of_this_process(_deployment()).as_dict()
    if "settings" in parts:
        settings, wrong = settings_in_force()
        problems += wrong
        found["settings"] = [asdict(one) for one in settings]
    if "repository" in parts:
        contents, wrong = _contents(options.local_repos)
        problems += wrong
        found["repositories"] = [{**asdict(one), "path": str(one.path)} for one in contents]
    if options.json:
        sys.stdout.write(json.dumps({**found, "problems": problems}, indent=2) + "\n")
    else:
        _show(Console(highlight=False, markup=False, emoji=False), found, problems, options.all)
    return 1 if problems else 0


def _deployment() -> str | None:
    try:
        settings = Settings.load()
        paths = (*settings.preprocessing_pipelines_config.paths, *settings.main_pipelines_config.paths)
        return deployment_id(paths, settings.config_apdb)
    except (SettingsError, OSError, ValueError, LookupError):
        # Told with the settings, or by the service itself.
        return None


def _contents(parent: str) -> tuple[list[RepositoryContent], list[str]]:
    contents, problems = [], []
    for path in find_repositories(parent):
        try:
            contents.append(read_content(path))
        except (OSError, LookupError, RuntimeError) as error:
            problems.append(f"{path} cannot be read: {type(error).__name__}: {error}")
    return contents, problems


def _show(console: Console, found: dict[str, Any], problems: list[str], everything: bool) -> None:
    if (versions := found.get("versions")) is not None:
        table = _table("Versions", "what", "version")
        for name in ("prompt_processing", "commit", "deployment", "middleware", "python"):
            table.add_row(name, str(versions[name] or "not known"))
        for name, version in versions["schemas"].items():
            table.add_row(f"{name} schema", version)
        for name, version in versions["distributions"].items():
            if everything or name.startswith("lsst-"):
                table.add_row(name, version)
        console.print(table)
    if found.get("settings"):
        table = _table("Settings", "setting", "value", "from")
        for one in found["settings"]:
            table.add_row(one["name"], Text(one["value"]), one["source"])
        console.print(table)
    for repository in found.get("repositories", ()):
        title = f"{repository['path']}  {_size(repository['size'])}  universe {repository['universe']}"
        table = _table(title, "dataset type", "storage class", "datasets", "files", "size")
        for one in repository["types"]:
            table.add_row(
                one["name"],
                one["storage_class"],
                str(one["datasets"]),
                str(one["files"]),
                _size(one["size"]),
            )
        console.print(table)
    if "repositories" in found and not found["repositories"]:
        console.print(Text("No worker has a local repository here."))
    for problem in problems:
        console.print(Text(problem, style="red"), soft_wrap=True)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=Text(title, style="bold"), title_justify="left", box=None, pad_edge=False)
    for column in columns:
        table.add_column(
            column, overflow="fold", justify="right" if column in ("datasets", "files", "size") else "left"
        )
    return table


def _size(n_bytes: int) -> str:
    size = float(n_bytes)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="prompt-inspect",
        description="Show what runs here: versions, settings without secrets, workers' local repositories.",
        epilog="Example: kubectl exec <pod> -- prompt-inspect",
    )
    parser.add_argument("--versions", action="store_true", help="only versions")
    parser.add_argument("--settings", action="store_true", help="only settings")
    parser.add_argument("--repository", action="store_true", help="only local repositories")
    parser.add_argument("--all", action="store_true", help="all installed distributions, not only LSST's")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument(
        "--local-repos",
        default=os.environ.get("LOCAL_REPOS") or _DEFAULT_LOCAL_REPOS,
        help="directory of the local repositories (default: LOCAL_REPOS, %(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
