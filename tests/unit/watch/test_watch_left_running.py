"""The units by which the documentation leaves `prompt watch` running are valid, and so is their command."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest
import yaml

from prompt_processing.cli.watch import main

PAGE = (Path(__file__).parents[3] / "doc" / "any-camera.md").read_text()


def block(language: str) -> str:
    (*_, text) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(text)


def require_options(words: list[str]) -> None:
    """Require that each option exists; names of cameras are known only where they are described."""
    known = {name for parameter in main.params for name in parameter.opts}
    assert [word for word in words if word.startswith("--") and word not in known] == []
    required = {
        parameter.opts[0]
        for parameter in main.params
        if parameter.required and isinstance(parameter, click.Option)
    }
    assert required <= set(words)


def test_command_of_the_unit_has_options_that_exist() -> None:
    (line,) = re.findall(r"^ExecStart=(.*)$", block("ini"), re.MULTILINE)
    program, command, _, *options = shlex.split(line)
    assert (Path(program).name, command) == ("prompt", "watch")
    require_options(options)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="a machine without systemd")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "prompt-watch.service"
    # The program and the user of the example exist on the observatory's machine.
    text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", block("ini"), flags=re.MULTILINE)
    unit.write_text(text.replace("User=observer", "User=root"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    about_it = [line for line in done.stderr.splitlines() if unit.name in line]
    assert about_it == []


def test_command_of_the_container_has_options_that_exist() -> None:
    service = yaml.safe_load(block("yaml"))["services"]["watch"]
    program, command, _, *options = service["command"]
    assert (program, command) == ("prompt", "watch")
    require_options(options)
    mounted = {volume.split(":")[1] for volume in service["volumes"]}
    paths = [word for word in (*options, service["environment"]["PROMPT_INSTRUMENT_PATH"]) if "/" in word]
    assert all(any(path.startswith(folder) for folder in mounted) for path in paths)
