"""The environment is read in one place, and what is read there is used."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import prompt_processing
from prompt_processing.settings.environment import EnvironmentSettings

PACKAGE = Path(prompt_processing.__file__).parent

READERS_OF_THE_ENVIRONMENT = {
    "telemetry/metrics.py": "PROMETHEUS_MULTIPROC_DIR is the client library's",
    "telemetry/running_version.py": "the image's commit, the same for every process",
    "telemetry/credentials.py": "masks every secret of the environment, whoever reads it",
    "butler/types.py": "the search path of the Butler, set before it is loaded",
    "operators/settings_in_force.py": "reports where settings come from",
    "cli/worker.py": "threads of BLAS, set before it is loaded",
    "activator/gunicorn_conf.py": "PROMETHEUS_MULTIPROC_DIR, set before its library is loaded",
    "butler/pipeline_files.py": "PROMPT_PROCESSING_DIR, which paths of pipelines name",
    # Programs for developers, which start other programs.
    "services/": "starts servers",
    "demo/": "starts workers",
    "tester/": "defaults of options on the command line",
    "cli/": "defaults of options on the command line",
}


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield str(path.relative_to(PACKAGE)), ast.parse(path.read_text())


def reads_environment(module: ast.Module) -> bool:
    return any(
        (isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv"))
        or (isinstance(node, ast.ImportFrom) and any(one.name in ("environ", "getenv") for one in node.names))
        for node in ast.walk(module)
    )


def test_only_settings_and_a_few_with_reasons_read_the_environment() -> None:
    found = {name for name, module in modules() if reads_environment(module)}
    allowed = ("settings/", *READERS_OF_THE_ENVIRONMENT)
    assert {name for name in found if not name.startswith(allowed)} == set()
    assert not [name for name in found if name.startswith("tasks/")]


def test_every_reason_is_still_needed() -> None:
    found = {name for name, module in modules() if reads_environment(module)}
    unneeded = [name for name in READERS_OF_THE_ENVIRONMENT if not any(one.startswith(name) for one in found)]
    assert unneeded == []


def settings_classes() -> set[type[EnvironmentSettings]]:
    for module in pkgutil.walk_packages(prompt_processing.__path__, "prompt_processing."):
        if module.name.rpartition(".")[2] in ("config", "settings") or ".settings." in module.name:
            importlib.import_module(module.name)
    found: set[type[EnvironmentSettings]] = set()
    waiting = [EnvironmentSettings]
    while waiting:
        for child in waiting.pop().__subclasses__():
            if child.__module__.startswith("prompt_processing."):
                found.add(child)
                waiting.append(child)
    return found


@pytest.fixture(scope="module")
def names_read() -> set[str]:
    """Every attribute that is read, and every setting that a Kafka client is made from."""
    names: set[str] = set()
    for _, module in modules():
        for node in ast.walk(module):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                names.add(node.attr)
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "KafkaVariables":
                names |= {
                    one.value
                    for one in ast.walk(node)
                    if isinstance(one, ast.Constant) and isinstance(one.value, str)
                }
    return names


def test_every_setting_is_read_and_not_only_declared(names_read: set[str]) -> None:
    classes = settings_classes()
    assert len(classes) > 5
    unread = {
        f"{one.__qualname__}.{name}" for one in classes for name in one.model_fields if name not in names_read
    }
    assert unread == set()
