"""The documentation builds, and the commands in it that can run here do what it says."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import prompt_processing
from prompt_processing.cli.commands import COMMANDS, GROUPS
from prompt_processing.settings.environment import EnvironmentSettings

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
DOC = ROOT / "doc"
RUNS = re.compile(r"<!-- runs -->\n```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)
"""Blocks of commands that are marked; those of a page are one session."""
OWN_PATH = re.compile(r"`((?:python|pipelines|tests|benchmarks|charts|doc)/[\w./-]+)`")
OWN_COMMAND = re.compile(r"(?:^|[\s`])(bin/[\w-]+)(?=[\s`]|$)", re.MULTILINE)


def pages() -> list[Path]:
    own = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    return own + sorted(page for page in DOC.rglob("*.md") if "_build" not in page.parts)


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


@pytest.mark.usefixtures("warm_start")
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
        timeout=840,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    settings = (tmp_path / "site" / "settings.html").read_text()
    assert "BUCKET_NOTIFICATION_KAFKA_OFFSET_RESET" in settings
    front = (tmp_path / "site" / "index.html").read_text()
    assert re.search(r"Copyright &#169;\s+The Prompt Processing maintainers", front)
    commands = (tmp_path / "site" / "commands.html").read_text()
    absent = [name for name in COMMANDS if f'id="prompt-{name.replace(" ", "-")}"' not in commands]
    assert absent == []
    # A reader without a network sees the same.
    for page in (tmp_path / "site").glob("*.html"):
        assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="https?://', page.read_text()), page


def test_every_settings_class_has_its_table() -> None:
    text = (DOC / "settings.md").read_text()
    package = Path(prompt_processing.__path__[0])
    bases: dict[str, set[str]] = {}
    for path in package.rglob("*.py"):
        module = ".".join(("prompt_processing", *path.relative_to(package).with_suffix("").parts))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                bases[f"{module}.{node.name}"] = {ast.unparse(base) for base in node.bases}
    found: set[str] = set()
    parents = {EnvironmentSettings.__name__}
    while parents:
        children = {name for name, of in bases.items() if of & parents}
        found |= children
        parents = {name.rpartition(".")[2] for name in children}
    inherited = set().union(*(bases[name] for name in found))
    # What others inherit is a part of their tables.
    classes = {name for name in found if name.rpartition(".")[2] not in inherited}
    assert len(classes) > 4
    assert {name for name in classes if f"{{settings-table}} {name}" not in text} == set()


def unknown_commands(text: str) -> set[str]:
    """Return what a page writes as a command of ``prompt`` and is none."""
    blocks = re.findall(r"^```.*?^```|^ {4}.*?$", text, re.DOTALL | re.MULTILINE)
    code = "\n".join([*blocks, *re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)])
    unknown = set()
    for line in re.findall(r"(?:^|[|\s(])prompt((?: [a-z][a-z0-9-]*)+)", code, re.MULTILINE):
        words = line.split()
        known = next((n for n in (3, 2, 1) if " ".join(words[:n]) in COMMANDS and len(words) >= n), 0)
        if not known and " ".join(words) not in GROUPS:
            unknown.add(f"prompt{line}")
    return unknown


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_files_and_commands_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text()
    commands = {path.name for path in (ROOT / "bin").iterdir()}
    absent = {path for path in OWN_PATH.findall(text) if not (ROOT / path).exists()}
    absent |= {name for name in OWN_COMMAND.findall(text) if name.removeprefix("bin/") not in commands}
    assert absent | unknown_commands(text) == set()
