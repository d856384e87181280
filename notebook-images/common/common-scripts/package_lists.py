"""Lists of packages: those that people write, and frozen ones."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import conda

__all__ = ["PackageList", "RefusedError", "blocks", "normalised", "pinned", "read_list", "sha256_of"]

_REQUIREMENT = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==(\S+)")
_OTHER_FILE = re.compile(r"(-r|-c|--requirement|--constraint)(?:\s*=?\s*)(?!\w+://)(\S.*)")


class RefusedError(Exception):
    """Something cannot be done; the message says what and what to do."""


def normalised(name: str) -> str:
    """Return a package's name as indices compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(path: Path) -> dict[str, str]:
    """Return the versions of a frozen list, by package."""
    found: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if match := _REQUIREMENT.match(line):
            found[normalised(match[1])] = match[2].rstrip("\\").strip()
        elif package := conda.name_and_version(line):
            found[package[0]] = package[1]
    return found


def blocks(path: Path) -> dict[str, str]:
    """Return the entries of a frozen list with their hashes, by package."""
    found: dict[str, str] = {}
    name = ""
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if match := _REQUIREMENT.match(line):
            name = normalised(match[1])
            found[name] = line
        elif package := conda.name_and_version(line):
            found[package[0]] = line
        elif name and line.startswith(" "):
            found[name] += line
    return found


def sha256_of(*lists: Path) -> dict[str, list[str]]:
    """Return the hashes in the first frozen list that exists, by package; none if there is no list."""
    for path in lists:
        if path.exists():
            return {name: re.findall(r"sha256:([0-9a-f]{64})", text) for name, text in blocks(path).items()}
    return {}


@dataclass(frozen=True)
class PackageList:
    """A list of packages.

    Attributes
    ----------
    file
        Path of the list, by which it is known.
    pip, conda
        Packages of PyPI and of conda.
    channels
        Channels of conda, the preferred one first.
    """

    file: str
    pip: tuple[str, ...] = ()
    conda: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the file."""
        return Path(self.file).name


def read_list(spec: Path) -> PackageList:
    """Read a list of packages: ``*.pip``, ``*.conda`` or ``*.yml``."""
    if spec.suffix not in (".pip", ".conda", ".yml", ".yaml"):
        raise RefusedError(f"{spec.name} is neither .yml, .pip nor .conda.")
    if not spec.is_file():
        raise RefusedError(f"{spec} does not exist.")
    try:
        text = spec.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RefusedError(f"{spec} is not text: {error}") from error
    file = str(spec.resolve())
    if spec.suffix in (".yml", ".yaml"):
        return _read_yml(spec.name, file, text)
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in text.splitlines())
    packages = tuple(line for line in lines if line)
    if spec.suffix == ".conda":
        return PackageList(file, conda=packages)
    return PackageList(file, tuple(_with_whole_path(line, spec.resolve().parent) for line in packages))


def _with_whole_path(line: str, folder: Path) -> str:
    """Return a line that names another file so that it is found from anywhere."""
    match = _OTHER_FILE.fullmatch(line)
    return f"{match[1]} {folder / match[2]}" if match else line


def _read_yml(name: str, file: str, text: str) -> PackageList:
    import yaml

    def names(value: Any, where: str) -> tuple[str, ...]:
        if value is not None and not (isinstance(value, list) and all(isinstance(one, str) for one in value)):
            raise RefusedError(f"{name}: {where} is {value!r}: it must be a list of names.")
        return tuple(value or ())

    try:
        content = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise RefusedError(f"{name} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise RefusedError(f"{name} has no `dependencies:`.")
    entries = content.get("dependencies") or []
    if not isinstance(entries, list):
        raise RefusedError(f"{name}: dependencies is {entries!r}: it must be a list of names.")
    nested = [entry for entry in entries if isinstance(entry, dict)]
    if unknown := {key for entry in nested for key in entry} - {"pip"}:
        raise RefusedError(
            f"{name}: dependencies has {', '.join(map(str, unknown))}; only pip has a list there."
        )
    pip = tuple(one for entry in nested for one in names(entry.get("pip"), "pip"))
    others = names([entry for entry in entries if not isinstance(entry, dict)], "dependencies")
    # A list that names Python and pip alone needs nothing of conda.
    alone = all(re.fullmatch(r"(python|pip)\b[^:]*", one) for one in others)
    return PackageList(file, pip, () if alone else others, names(content.get("channels"), "channels"))
