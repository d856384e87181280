"""Inspect a pod: versions, settings and the workers' local repositories."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from prompt_processing.butler.deployment import deployment_id
from prompt_processing.settings.environment import SettingsError
from prompt_processing.settings.worker import Settings
from prompt_processing.telemetry.running_version import RunningVersion

from .local_content import RepositoryContent, find_repositories, read_content
from .settings_in_force import settings_in_force

__all__ = ["PARTS", "look_into_pod", "show_pod"]

PARTS = ("versions", "settings", "repositories")
"""Parts that can be inspected."""


def look_into_pod(local_repos: str, parts: Collection[str] = PARTS) -> dict[str, Any]:
    """Inspect the pod in which this process runs.

    Parameters
    ----------
    local_repos
        Directory of the workers' local repositories.
    parts
        Parts to inspect, of `PARTS`.

    Returns
    -------
    found
        Each part by name, convertible to JSON, and ``problems``: settings that are unusable, and
        repositories that cannot be read.
    """
    found: dict[str, Any] = {}
    problems: list[str] = []
    if "versions" in parts:
        found["versions"] = RunningVersion.of_this_process(_deployment()).as_dict()
    if "settings" in parts:
        settings, wrong = settings_in_force()
        problems += wrong
        found["settings"] = [asdict(one) for one in settings]
    if "repositories" in parts:
        contents, wrong = _contents(local_repos)
        problems += wrong
        found["repositories"] = [{**asdict(one), "path": str(one.path)} for one in contents]
    return {**found, "problems": problems}


def _deployment() -> str | None:
    try:
        settings = Settings.load()
        paths = (*settings.preprocessing_pipelines_config.paths, *settings.main_pipelines_config.paths)
        return deployment_id(paths, settings.config_apdb)
    except (SettingsError, OSError, ValueError, LookupError):
        # The part "settings", or the service itself, reports the error.
        return None


def _contents(parent: str) -> tuple[list[RepositoryContent], list[str]]:
    contents, problems = [], []
    for path in find_repositories(parent):
        try:
            contents.append(read_content(path))
        except (OSError, LookupError, RuntimeError) as error:
            problems.append(f"{path} cannot be read: {type(error).__name__}: {error}")
    return contents, problems


def show_pod(console: Console, found: Mapping[str, Any], *, all_packages: bool = False) -> None:
    """Print the result of `look_into_pod`; packages other than LSST's only on request."""
    if (versions := found.get("versions")) is not None:
        table = _table("Versions", "what", "version")
        for name in ("prompt_processing", "commit", "deployment", "middleware", "python"):
            table.add_row(name, str(versions[name] or "unknown"))
        for name, version in versions["schemas"].items():
            table.add_row(f"{name} schema", version)
        for name, version in versions["distributions"].items():
            if all_packages or name.startswith("lsst-"):
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
    for problem in found["problems"]:
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
