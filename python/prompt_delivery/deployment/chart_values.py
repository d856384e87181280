"""What a chart's ``values.yaml`` says about its values: name, default, meaning and type."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

__all__ = ["ChartValue", "ChartValuesError", "read_values"]

_DOCUMENTED = re.compile(r"^\s*# -- ?")
_SCHEMA = re.compile(r"^\s*# @schema ")


class ChartValuesError(ValueError):
    """A file of values says something about itself that cannot be understood."""


@dataclass(frozen=True)
class ChartValue:
    """One value.

    Attributes
    ----------
    path : `tuple` [`str`, ...]
        Keys from the top of the file.
    default : object
        What it is unless it is set.
    description : `str`
        What it is for; empty where the file does not say.
    constraints : `dict`
        JSON schema keywords, besides those that follow from the default.
    """

    path: tuple[str, ...]
    default: Any
    description: str
    constraints: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its path with dots."""
        return ".".join(self.path)


def read_values(path: Path) -> list[ChartValue]:
    """Read a file of values.

    A value is a key with a comment ``# -- meaning`` above it, or one that holds no mapping; what is below a
    commented key belongs to that value. A line ``# @schema {...}`` in the comment adds JSON schema keywords.

    Parameters
    ----------
    path : `~pathlib.Path`
        ``values.yaml``.

    Returns
    -------
    values : `list` [`ChartValue`]
        In the order of the file.

    Raises
    ------
    ChartValuesError
        Raised if the file or a comment is not YAML.
    """
    text = path.read_text(encoding="utf-8")
    try:
        top = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ChartValuesError(f"{path}: {error}") from error
    if top is None:
        return []
    if not isinstance(top, yaml.MappingNode):
        raise ChartValuesError(f"{path}: not a mapping")
    return list(_values(top, text.splitlines(), (), path))


def _values(
    mapping: yaml.MappingNode, lines: list[str], above: tuple[str, ...], file: Path
) -> Iterator[ChartValue]:
    for key, node in mapping.value:
        path = (*above, str(key.value))
        description, constraints = _comment(lines, key.start_mark.line, file)
        if isinstance(node, yaml.MappingNode) and node.value and not description:
            yield from _values(node, lines, path, file)
        else:
            yield ChartValue(path, _plain(node), description, constraints)


def _comment(lines: list[str], line: int, file: Path) -> tuple[str, dict[str, Any]]:
    first = line
    while first > 0 and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    words: list[str] = []
    constraints: dict[str, Any] = {}
    begun = False
    for number in range(first, line):
        text = lines[number]
        if _SCHEMA.match(text):
            try:
                constraints = yaml.safe_load(_SCHEMA.sub("", text))
            except yaml.YAMLError as error:
                raise ChartValuesError(f"{file}:{number + 1}: {error}") from error
            if not isinstance(constraints, dict):
                raise ChartValuesError(f"{file}:{number + 1}: not a mapping of JSON schema keywords")
        elif _DOCUMENTED.match(text):
            words, begun = [_DOCUMENTED.sub("", text).strip()], True
        elif begun:
            words.append(text.strip().lstrip("# ").strip())
    return " ".join(words), constraints


def _plain(node: yaml.Node) -> Any:
    return yaml.SafeLoader("").construct_document(node)
