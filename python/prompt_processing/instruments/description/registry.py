"""Find instruments: on the search path, in installed packages, and in this package."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Iterator, Mapping
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import yaml

from .instrument import DESCRIPTION_FILE, Instrument, InstrumentError, read_instrument

__all__ = [
    "ENTRY_POINTS",
    "SEARCH_PATH_VARIABLE",
    "instrument_folders",
    "instrument_names",
    "key_instrument",
    "load_instrument",
    "night_key_names",
    "recognise",
]

_log = logging.getLogger("lsst.instruments.registry")

SEARCH_PATH_VARIABLE = "PROMPT_INSTRUMENT_PATH"
"""Environment variable: folders of instruments, or folders that hold such folders, separated by colons."""

ENTRY_POINTS = "prompt_processing.instruments"
"""Group of entry points of installed packages; each names a package with ``instrument.yaml``."""


def instrument_folders() -> Mapping[str, Path]:
    """Return the folder of each instrument by its name.

    The first of a name counts: those on the search path, then those of installed packages, then those of this
    package.

    Raises
    ------
    InstrumentError
        Raised if a folder on the search path does not exist, or a description does not name its instrument.
    """
    return _folders(_search_path())


def instrument_names() -> tuple[str, ...]:
    """Return the names of the instruments, without those of which only object keys and headers are known."""
    return tuple(name for name, folder in _folders(_search_path()).items() if not _outline(folder)[1])


def load_instrument(name_or_path: str | Path) -> Instrument:
    """Read the description of an instrument.

    Parameters
    ----------
    name_or_path
        Short name, or a folder with ``instrument.yaml``.

    Raises
    ------
    InstrumentError
        Raised if there is no such instrument, or its description is unusable; also a `LookupError`.
    """
    if isinstance(name_or_path, str) and (folder := instrument_folders().get(name_or_path)) is not None:
        return _read(folder)
    path = Path(name_or_path)
    if (path / DESCRIPTION_FILE).is_file():
        return _read(path.resolve())
    if isinstance(name_or_path, Path) or os.sep in name_or_path:
        raise InstrumentError(f"{path} is not the folder of an instrument: it has no {DESCRIPTION_FILE}")
    raise InstrumentError(
        f"Unknown instrument {name_or_path!r}; known are {', '.join(instrument_folders())}. "
        f"{SEARCH_PATH_VARIABLE} names folders with further ones."
    )


def recognise(header: Mapping[str, Any]) -> Instrument | None:
    """Return the instrument that wrote a header, or `None`."""
    return next((one for one in _usable(_search_path()) if one.recognises(header)), None)


def key_instrument(name: str) -> Instrument | None:
    """Return the instrument whose object keys begin with a name, or `None`."""
    return _by_key_name(_search_path()).get(name)


def night_key_names() -> tuple[str, ...]:
    """Return the names of the instruments whose object keys are ordered by night."""
    return tuple(one.name for one in _usable(_search_path()) if one.document.object_keys.layout == "by_night")


def _search_path() -> str:
    return os.environ.get(SEARCH_PATH_VARIABLE, "")


@functools.cache
def _usable(search_path: str) -> tuple[Instrument, ...]:
    found = []
    for name, folder in _folders(search_path).items():
        try:
            found.append(_read(folder))
        except InstrumentError as error:
            # It must not stop the work on another instrument.
            _log.warning("The instrument %s is ignored: %s", name, error)
    return tuple(found)


@functools.cache
def _by_key_name(search_path: str) -> Mapping[str, Instrument]:
    instruments = _usable(search_path)
    aliases = {alias: one for one in instruments for alias in one.document.object_keys.aliases}
    return aliases | {one.name: one for one in instruments}


@functools.cache
def _folders(search_path: str) -> Mapping[str, Path]:
    # Cached: every header requires it, and folders do not come and go while a process runs.
    found: dict[str, Path] = {}
    for folder in (*_on_path(search_path), *_of_packages(), *_below(_own_folder())):
        found.setdefault(_outline(folder)[0], folder)
    return found


@functools.cache
def _read(folder: Path) -> Instrument:
    return read_instrument(folder)


def _on_path(search_path: str) -> Iterator[Path]:
    for entry in search_path.split(os.pathsep):
        if not entry:
            continue
        folder = Path(entry).expanduser().absolute()
        if not folder.is_dir():
            raise InstrumentError(f"{SEARCH_PATH_VARIABLE}: {entry} is not a folder")
        yield from [folder] if (folder / DESCRIPTION_FILE).is_file() else _below(folder)


def _of_packages() -> Iterator[Path]:
    for point in metadata.entry_points(group=ENTRY_POINTS):
        try:
            folder = Path(str(resources.files(point.module)))
        except (ImportError, TypeError) as error:
            # Another package's fault must not stop a worker of another instrument.
            _log.warning("The instrument %s of an installed package is unavailable: %s", point.name, error)
            continue
        yield from [folder] if (folder / DESCRIPTION_FILE).is_file() else _below(folder)


def _own_folder() -> Path:
    return Path(str(resources.files("prompt_processing.instruments"))) / "cameras"


def _below(folder: Path) -> list[Path]:
    return sorted(one.parent for one in folder.glob(f"*/{DESCRIPTION_FILE}"))


@functools.cache
def _outline(folder: Path) -> tuple[str, bool]:
    """Return the name of an instrument, and whether only its object keys and headers are known.

    A list needs nothing else: the rest of a description is checked when the instrument is used.
    """
    path = folder / DESCRIPTION_FILE
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        found = yaml.safe_load("\n".join(line for line in lines if line.startswith(("name:", "only_keys:"))))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InstrumentError(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get("name"), str):
        raise InstrumentError(f"{path} has no line that begins with name:")
    return found["name"], bool(found.get("only_keys", False))
