"""The map of the code shows the rooms that the import contract has."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "doc" / "architecture.md").read_text()


@pytest.fixture(scope="module")
def drawing() -> ModuleType:
    spec = importlib.util.spec_from_file_location("draw_rooms", ROOT / "doc" / "draw_rooms.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_picture_is_drawn_from_the_contract_in_force(drawing: ModuleType) -> None:
    current = drawing.PICTURE.read_text() == drawing.draw()
    assert current, "run python doc/draw_rooms.py"


def test_table_has_each_room_of_the_contract_and_no_other(drawing: ModuleType) -> None:
    rooms = [room for layer in drawing.layers() for room in layer]
    table = PAGE.partition("| room |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == rooms


def test_every_package_is_a_room(drawing: ModuleType) -> None:
    package = ROOT / "python" / "prompt_processing"
    packages = {path.parent.name for path in package.glob("*/__init__.py")}
    rooms = {room for layer in drawing.layers() for room in layer}
    assert packages == rooms - {"prompt_delivery"}


def test_named_modules_exist() -> None:
    rooms = "domain|settings|butler|alerts|tasks|fanout|instruments|imaging"
    for name in re.findall(rf"`((?:activator|{rooms})\.[a-z_.]+)(?:\.[A-Z]\w+)?`", PAGE):
        path = ROOT.joinpath("python", "prompt_processing", *name.split("."))
        assert path.with_suffix(".py").is_file() or path.is_dir(), name
    for name in re.findall(r"`(?:services|storage)\.\w+`", PAGE):
        path = ROOT.joinpath("python", "prompt_processing", "activator", *name.strip("`").split("."))
        assert path.with_suffix(".py").is_file(), name
