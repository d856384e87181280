"""Fixtures for tests of the charts."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from made_once import made_once

from prompt_delivery.deployment.cli import renderings
from prompt_delivery.deployment.helm import ChartTree
from prompt_delivery.deployment.manifests import Container, Manifest, containers, read_manifests
from prompt_processing.services.checking_tools import CheckingTools
from prompt_processing.services.installation import MissingSoftwareError

PROJECT = Path(__file__).parents[2]


class EverySecret(dict[str, str]):
    """Secrets with a value for every key."""

    def __missing__(self, key: str) -> str:
        return "[]"


@pytest.fixture(scope="session")
def chart_software() -> CheckingTools:
    """Helm and the validator, installed."""
    software = CheckingTools()
    try:
        software.install()
    except MissingSoftwareError as error:
        if os.environ.get("CI"):
            pytest.fail(f"The charts cannot be tested: {error}")
        pytest.skip(str(error))
    return software


@pytest.fixture(scope="session")
def chart_tree(chart_software: CheckingTools, tmp_path_factory: pytest.TempPathFactory) -> ChartTree:
    """The project's charts."""
    return ChartTree(PROJECT, tmp_path_factory.mktemp("charts"), chart_software)


@pytest.fixture(scope="session")
def rendered(
    chart_software: CheckingTools, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], str]:
    """All manifests, by chart and environment or example."""

    def render(folder: Path) -> None:
        tree = ChartTree(PROJECT, folder, chart_software)
        (folder / "rendered.json").write_text(json.dumps(list(renderings(tree))))

    found = json.loads((made_once(tmp_path_factory, "charts", render) / "rendered.json").read_text())
    return {(chart, where): manifests for chart, where, manifests in found}


def applications(rendered: Mapping[tuple[str, str], str]) -> Iterator[tuple[str, str, str]]:
    """Yield name, environment and manifests of the applications."""
    for (chart, environment), manifests in rendered.items():
        if chart.startswith("applications/"):
            yield Path(chart).name, environment, manifests


def references(values: object) -> Iterator[tuple[str, str]]:
    """Yield name and key of the Secrets that values refer to."""
    if isinstance(values, dict):
        for key, value in values.items():
            if key == "secretKeyRef":
                yield value["name"], value["key"]
            else:
                yield from references(value)
    elif isinstance(values, list):
        for value in values:
            yield from references(value)


def container_of(manifests: str, kind: str, program: str | None = None) -> Container:
    """Return the only container of a kind of object, or the only one that runs a program."""
    found = [
        one
        for one in containers(read_manifests(manifests))
        if one.kind == kind and program in (None, one.command[0])
    ]
    assert len(found) == 1, f"{len(found)} containers of {kind}"
    return found[0]


def only(manifests: list[Manifest], kind: str) -> Manifest:
    found = [manifest for manifest in manifests if manifest["kind"] == kind]
    assert len(found) == 1, f"{len(found)} of {kind}"
    return found[0]


@pytest.fixture
def exactly(monkeypatch: pytest.MonkeyPatch) -> Callable[[Mapping[str, str]], None]:
    """Replace the whole environment, except for the image's variables."""

    def exactly(environment: Mapping[str, str]) -> None:
        for name in list(os.environ):
            monkeypatch.delenv(name)
        monkeypatch.setenv("PROMPT_PROCESSING_DIR", str(PROJECT))
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

    return exactly
