"""Write a page of the API reference for each room of the package, from the package itself."""

from __future__ import annotations

import pkgutil
import types
from pathlib import Path

from sphinx.application import Sphinx

import prompt_processing

_SKIPPED = {"__main__", "gunicorn_conf"}
"""Modules that do something when they are imported."""


def _modules(package: str, folder: Path) -> list[str]:
    found = [package]
    for module in pkgutil.iter_modules([str(folder)]):
        if module.name in _SKIPPED or module.name.startswith("_"):
            continue
        name = f"{package}.{module.name}"
        if module.ispkg:
            found += _modules(name, folder / module.name)
        else:
            found.append(name)
    return found


def _write(path: Path, text: str) -> None:
    # A page that did not change keeps its time, and is not read again.
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def _title(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}\n\n"


def write_pages(app: Sphinx) -> None:
    """Write ``api/<room>.rst`` for all rooms."""
    root = Path(prompt_processing.__path__[0])
    folder = Path(app.srcdir) / "api"
    folder.mkdir(exist_ok=True)
    rooms = sorted(module.name for module in pkgutil.iter_modules([str(root)]) if module.ispkg)
    for room in rooms:
        text = _title(room, "=")
        for name in _modules(f"prompt_processing.{room}", root / room):
            if name != f"prompt_processing.{room}":
                text += _title(name.removeprefix("prompt_processing."), "-")
            text += f".. automodule:: {name}\n\n"
        _write(folder / f"{room}.rst", text)
    for left_over in folder.glob("*.rst"):
        if left_over.stem not in {*rooms, "index"}:
            left_over.unlink()
    listing = "".join(f"   {room}\n" for room in rooms)
    _write(
        folder / "index.rst",
        _title("API reference", "=")
        + "One page for each room; :doc:`../architecture` describes the rooms.\n\n"
        + f".. toctree::\n   :maxdepth: 1\n\n{listing}",
    )


def skip(app: Sphinx, what: str, name: str, thing: object, skipped: bool, options: object) -> bool | None:
    """Leave out what is not ours: types such as ``tuple[slice, slice]``, and classes that are imported."""
    if isinstance(thing, types.GenericAlias):
        # Autodoc finds no signature for it.
        return True
    if isinstance(thing, type) and not str(thing.__module__).startswith("prompt_processing"):
        return True
    return None


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("builder-inited", write_pages)
    app.connect("autodoc-skip-member", skip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
