"""The environment is read in one place, and what is read there is used."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import prompt_processing
from prompt_processing.settings.environment import EnvironmentSettings

PACKAGE = Path(prompt_processing.__file__).parent

READERS_OF_THE_ENVIRONMENT = {
    "telemetry/metrics.py": "PROMETHEUS_MULTIPROC_DIR is the client library's",
    "telemetry/running_version.py": "the image's commit, the same for every process",
    "telemetry/credentials.py": "masks every secret of the environment, whoever reads it",
    "transport/s3.py": "LSST_RESOURCES_S3_PROFILE_<profile>, which lsst.resources reads as well",
    "butler/types.py": "the search path of the Butler, set before it is loaded",
    "operators/settings_in_force.py": "reports where settings come from",
    "activator/gunicorn_conf.py": "PROMETHEUS_MULTIPROC_DIR, set before its library is loaded",
    "instruments/description/registry.py": "PROMPT_INSTRUMENT_PATH, in every program that reads a header",
    "butler/pipelines/files.py": "PROMPT_PROCESSING_DIR, which paths of pipelines name",
    # Programs for developers, which start other programs.
    "services/": "starts servers",
    "demo/": "starts workers",
    "tester/": "defaults of options on the command line",
    "cli/": "defaults of options on the command line",
    "flows/deploy.py": "passes variables on to the runs of a deployment",
    "flows/daily/demo_night.py": "runs the demo's flows in the demo's environment",
    "navigator/app.py": "BOKEH_RESOURCES, set before its library is loaded",
}


@pytest.fixture(scope="module")
def modules() -> dict[str, ast.Module]:
    return {
        str(path.relative_to(PACKAGE)): ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))
    }


@pytest.fixture(scope="module")
def readers(modules: dict[str, ast.Module]) -> set[str]:
    return {name for name, module in modules.items() if reads_environment(module)}


def reads_environment(module: ast.Module) -> bool:
    return any(
        (isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv"))
        or (isinstance(node, ast.ImportFrom) and any(one.name in ("environ", "getenv") for one in node.names))
        for node in ast.walk(module)
    )


def test_only_settings_and_a_few_with_reasons_read_the_environment(readers: set[str]) -> None:
    allowed = ("settings/", *READERS_OF_THE_ENVIRONMENT)
    assert {name for name in readers if not name.startswith(allowed)} == set()
    assert not [name for name in readers if name.startswith("tasks/")]


def test_every_reason_is_still_needed(readers: set[str]) -> None:
    unneeded = [
        name for name in READERS_OF_THE_ENVIRONMENT if not any(one.startswith(name) for one in readers)
    ]
    assert unneeded == []


def settings_fields(modules: dict[str, ast.Module]) -> set[str]:
    """Fields of all classes that derive from `EnvironmentSettings`, as ``Class.field``."""
    classes = {
        node.name: node
        for module in modules.values()
        for node in ast.walk(module)
        if isinstance(node, ast.ClassDef)
    }

    def is_settings(name: str) -> bool:
        if name not in classes:
            return False
        bases = {base.id for base in classes[name].bases if isinstance(base, ast.Name)}
        return EnvironmentSettings.__name__ in bases or any(is_settings(base) for base in bases)

    return {
        f"{name}.{node.target.id}"
        for name in classes
        if is_settings(name)
        for node in classes[name].body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        if not ast.unparse(node.annotation).startswith("ClassVar")
    }


@pytest.fixture(scope="module")
def names_read(modules: dict[str, ast.Module]) -> set[str]:
    """Every attribute that is read, and every setting that a Kafka client is made from."""
    names: set[str] = set()
    for module in modules.values():
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


def test_every_setting_is_read_and_not_only_declared(
    modules: dict[str, ast.Module], names_read: set[str]
) -> None:
    fields = settings_fields(modules)
    assert {
        "Settings.mp_sky_url",
        "FanOutSettings.consumer_group",
        "AlertSettings.alert_keep_store",
    } <= fields
    assert {field for field in fields if field.rpartition(".")[2] not in names_read} == set()
