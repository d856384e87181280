"""The page of the algorithms names modules, options and defaults that the code has."""

from __future__ import annotations

import dataclasses
import importlib
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "doc" / "algorithms.md").read_text()
PACKAGE = ROOT / "python" / "prompt_processing"
SECTIONS = {
    title: text
    for title, _, text in (
        section.partition("\n") for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
    )
}
MODULES = sorted(set(re.findall(r"`((?:imaging|association|alerts)\.[\w.]+)`", PAGE)))
DEFAULT = re.compile(r"`(\w+)`\s+(\([^)]*\)|[\w.]+)")
OPTIONS = re.compile(r"^`(\w+(?:Options|Limits))`: (.*?)(?=\n\n|\Z)", re.DOTALL | re.MULTILINE)
LINES = [(title, *found) for title, text in SECTIONS.items() for found in OPTIONS.findall(text)]


def options_class(name: str) -> type[Any]:
    path = next(path for path in PACKAGE.rglob("*.py") if f"class {name}:" in path.read_text())
    module = ".".join(("prompt_processing", *path.relative_to(PACKAGE).with_suffix("").parts))
    found: type[Any] = getattr(importlib.import_module(module), name)
    return found


def value(text: str) -> object:
    text = text.rstrip(".")
    if text in ("true", "false"):
        return text == "true"
    if text.startswith("("):
        return tuple(float(one) for one in text.strip("()").split(","))
    return float(text)


def test_every_step_names_its_modules() -> None:
    assert len(SECTIONS) > 12
    assert [title for title, text in SECTIONS.items() if not text.lstrip().startswith("Module")] == []


def test_every_module_of_the_image_s_rooms_is_described() -> None:
    rooms = ("isr", "calibration", "templates", "difference", "measurement")
    steps = {
        f"imaging.{room}.{path.stem}"
        for room in rooms
        for path in (PACKAGE / "imaging" / room).glob("*.py")
        if "Options" in path.read_text() and "@dataclass" in path.read_text()
    }
    orchestrating = {"imaging.calibration.calibrate"}
    assert steps - orchestrating - set(MODULES) == set()


def test_named_modules_exist() -> None:
    assert MODULES
    absent = [name for name in MODULES if not PACKAGE.joinpath(*name.split(".")).with_suffix(".py").is_file()]
    assert absent == []


@pytest.mark.parametrize(("title", "name", "text"), LINES, ids=[f"{line[0]}-{line[1]}" for line in LINES])
def test_named_defaults_are_the_codes(title: str, name: str, text: str) -> None:
    defaults = {
        field.name: field.default
        for field in dataclasses.fields(options_class(name))
        if field.default is not None
    }
    named = DEFAULT.findall(text)
    assert named, f"{title}: {name} names no default"
    for option, written in named:
        expected = defaults[option]
        if isinstance(expected, tuple):
            expected = tuple(float(one) for one in expected)
        assert value(written) == expected, option
