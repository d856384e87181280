"""Read name, default, meaning and type of the values in a chart's ``values.yaml``."""

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
    """A file of values, or a comment in it, cannot be parsed."""


@dataclass(frozen=True)
class ChartValue:
    """One value of a chart.

    Attributes
    ----------
    path
        Keys from the top of the file.
    default
        Default value.
    description
        Meaning of the value; empty if the file has none.
    constraints
        JSON schema keywords, in addition to those that follow from the default.
    """

    path: tuple[str, ...]
    default: Any
    description: str
    constraints: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Path with dots."""
        return ".".join(self.path)


def read_values(path: Path) -> list[ChartValue]:
    """Read a file of values.

    A value is a key with a comment ``# -- meaning`` above it, or a key without a mapping; all keys below a
    commented key belong to its value. A line ``# @schema {...}`` in the comment adds JSON schema keywords.

    Parameters
    ----------
    path
        ``values.yaml``.

    Returns
    -------
    values
        Values in the order of the file.

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
