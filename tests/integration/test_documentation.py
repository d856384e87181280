"""The documentation builds, and the commands in it that can run here do what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import prompt_processing
from prompt_processing.settings.environment import EnvironmentSettings

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
DOC = ROOT / "doc"
RUNS = re.compile(r"<!-- runs -->\n```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)
"""Blocks of commands that are marked; those of a page are one session."""
OWN_PATH = re.compile(r"`((?:python|pipelines|tests|benchmarks|charts|doc)/[\w./-]+)`")
OWN_COMMAND = re.compile(r"(?:^|[\s`])(bin/[\w-]+|prompt-[a-z][a-z-]+)(?=[\s`]|$)", re.MULTILINE)


def pages() -> list[Path]:
    return sorted(page for page in DOC.rglob("*.md") if "_build" not in page.parts)


def runnable() -> list[Path]:
    return [page for page in pages() if RUNS.search(page.read_text())]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder that looks like a clone from within, and that commands may fill."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for command in (ROOT / "bin").iterdir():
        link = commands / command.name
        link.write_text(f'#!/bin/sh\nexec "{command}" "$@"\n')
        link.chmod(0o755)
    for name in ("pipelines", "python"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


@pytest.mark.parametrize("page", runnable(), ids=lambda page: page.stem)
def test_commands_of_a_page_run_as_written(page: Path, checkout: Path) -> None:
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("CENTRAL_REPO", "RUBIN_INSTRUMENT", "SKYMAP", "CONFIG_APDB", "DAF_BUTLER_CONFIG_PATH")
    }
    environment |= {
        "PATH": f"{Path(sys.executable).parent}:{environment['PATH']}",
        "PROMPT_PROCESSING_VENV": sys.prefix,
        "PROMPT_PROCESSING_NO_INSTALL": "1",
        "OMP_NUM_THREADS": "1",
    }
    script = "\n".join(["set -euxo pipefail", *RUNS.findall(page.read_text())])
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        timeout=840,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


def test_site_builds_without_a_warning(tmp_path: Path) -> None:
    environment = os.environ | {"PROMPT_PROCESSING_VENV": sys.prefix, "PROMPT_PROCESSING_NO_INSTALL": "1"}
    done = subprocess.run(
        [str(ROOT / "bin" / "doc"), str(tmp_path / "site")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    settings = (tmp_path / "site" / "settings.html").read_text()
    assert "BUCKET_NOTIFICATION_KAFKA_OFFSET_RESET" in settings
    # A reader without a network sees the same.
    for page in (tmp_path / "site").glob("*.html"):
        assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="https?://', page.read_text()), page


def test_every_settings_class_has_its_table() -> None:
    text = (DOC / "settings.md").read_text()
    package = Path(prompt_processing.__path__[0])
    bases: dict[str, str] = {}
    for path in package.rglob("*.py"):
        module = ".".join(("prompt_processing", *path.relative_to(package).with_suffix("").parts))
        for name, base in re.findall(r"^class (\w+)\((\w+)\)", path.read_text(), re.MULTILINE):
            bases[f"{module}.{name}"] = base
    settings = {name for name, base in bases.items() if base == EnvironmentSettings.__name__}
    shared = {name for name in settings if name.rpartition(".")[2] in bases.values()}
    also = {name for name, base in bases.items() if base in {each.rpartition(".")[2] for each in shared}}
    classes = settings - shared | also
    assert classes
    assert {name for name in classes if name not in text} == set()


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_files_and_commands_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text()
    commands = {path.name for path in (ROOT / "bin").iterdir()}
    scripts = set(re.findall(r'^(prompt-[\w-]+) = "', (ROOT / "pyproject.toml").read_text(), re.MULTILINE))
    absent = {path for path in OWN_PATH.findall(text) if not (ROOT / path).exists()}
    named = set(OWN_COMMAND.findall(text))
    absent |= {name for name in named if name.startswith("bin/") and name[4:] not in commands}
    assert absent == set()
    run = {name for block in RUNS.findall(text) for name in OWN_COMMAND.findall(block)}
    assert {name for name in run if name.startswith("prompt-")} <= scripts
