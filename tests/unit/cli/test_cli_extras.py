"""A command that lacks an extra names it."""

import sys

import click
import pytest
from click.testing import CliRunner

from prompt_processing.cli.command import Command
from prompt_processing.cli.extras import extra_of
from prompt_processing.cli.main import prompt


def test_the_demo_without_its_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("prompt_processing.simulation")]:
        monkeypatch.delitem(sys.modules, name)
    # As if it were not installed.
    monkeypatch.setitem(sys.modules, "galsim", None)
    answer = CliRunner().invoke(prompt, ["simulate", "/nowhere"])
    assert answer.exit_code == 1
    assert answer.output.strip().endswith("pip install 'prompt-processing[demo]'")
    assert "galsim" in answer.output
    assert len(answer.output.strip().splitlines()) == 1


def test_another_missing_module_is_not_hidden() -> None:
    @click.command(cls=Command)
    def broken() -> None:
        raise ModuleNotFoundError("No module named 'numpy'", name="numpy")

    assert isinstance(CliRunner().invoke(broken).exception, ModuleNotFoundError)


@pytest.mark.parametrize(
    ("module", "extra"), [("galsim", "demo"), ("moto", "demo"), ("myst_parser", "docs"), ("numpy", None)]
)
def test_modules_belong_to_the_extras_that_bring_them(module: str, extra: str | None) -> None:
    assert extra_of(module) == extra
