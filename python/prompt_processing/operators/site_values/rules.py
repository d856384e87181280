"""Rewrite a tree of values by a table of rules."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .forms import number, whole

__all__ = [
    "UNKNOWN",
    "Conversion",
    "Left",
    "Rule",
    "To",
    "ValuesError",
    "changed",
    "convert_tree",
    "merge_values",
    "value_at",
]

UNKNOWN = (
    "Unknown here. Look for a counterpart in the chart's README, or set the process's environment variable "
    "with `env`."
)
"""Remark on a value that no rule knows."""

_OF_NUMBERS = (number, whole)
_KINDS = {
    dict: "a mapping",
    list: "a list",
    str: "a text",
    int: "a number",
    float: "a number",
    bool: "a switch",
    bytes: "binary data",
}

Tree = dict[str, Any]


class ValuesError(ValueError):
    """Values cannot be converted; the message names the value and says what to do."""


@dataclass(frozen=True)
class To:
    """A value with a counterpart.

    Attributes
    ----------
    target
        Dotted path of the counterpart.
    change
        Makes its value; raises `ValueError` for a value that has no equivalent.
    """

    target: str
    change: Callable[[Any], Any] = copy.deepcopy


@dataclass(frozen=True)
class Left:
    """A value without a counterpart.

    Attributes
    ----------
    why
        A sentence: why it can be left, or what to do instead.
    unless
        Values that need no mention.
    """

    why: str
    unless: tuple[Any, ...] = ("", None)


Rule = To | Left


@dataclass
class Conversion:
    """The result of a conversion.

    Attributes
    ----------
    values
        In the new layout.
    remarks
        Sentences about values without a counterpart, by their old path.
    """

    values: Tree = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)

    def put(self, target: str, value: Any) -> None:
        """Set a value.

        Parameters
        ----------
        target
            Dotted path.
        value
            What to set.
        """
        *above, last = target.split(".")
        node = self.values
        for key in above:
            node = node.setdefault(key, {})
        node[last] = value


def merge_values(below: Mapping[str, Any], above: Mapping[str, Any]) -> Tree:
    """Merge two trees as Helm does.

    Parameters
    ----------
    below, above
        The second wins; `None` in it removes a value.
    """
    merged = copy.deepcopy(dict(below))
    for key, value in above.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            old = merged.get(key)
            merged[key] = merge_values(old if isinstance(old, Mapping) else {}, value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def value_at(tree: Mapping[str, Any], path: str, default: Any = None) -> Any:
    """Return the value at a dotted path, or the default.

    Parameters
    ----------
    tree
        Values.
    path
        Where.
    default
        If there is nothing.
    """
    node: Any = tree
    for key in path.split("."):
        if not isinstance(node, Mapping) or key not in node:
            return default
        node = node[key]
    return node


def changed[T](path: str, value: Any, change: Callable[[Any], T]) -> T:
    """Return a value in its new form.

    Parameters
    ----------
    path
        Where it is.
    value
        The old value.
    change
        Makes the new one.

    Raises
    ------
    ValuesError
        If the value has a form that it cannot have there.
    """
    try:
        return change(value)
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        text = repr(value)
        shown = text if len(text) < 80 else f"{text[:77]}..."
        # What Python misses in a value of another type says nothing to its reader.
        why = (
            error
            if isinstance(error, ValueError)
            else f"{_KINDS.get(type(value), 'it')} does not belong there"
        )
        raise ValuesError(f"{path}: {shown} cannot be converted: {why}") from error


def convert_tree(values: Mapping[str, Any], rules: Mapping[str, Rule]) -> Conversion:
    """Convert values one by one.

    Parameters
    ----------
    values
        In the old layout.
    rules
        By dotted path; a rule holds for everything below its path.

    Returns
    -------
    conversion
        Unknown values are remarks.

    Raises
    ------
    ValuesError
        If a value has a form that it cannot have there.
    """
    conversion = Conversion()
    for path, value in _ruled(values, rules):
        match rules.get(path):
            case To(target, change):
                # An empty text is how a chart writes that nothing is set.
                if value != "" or change not in _OF_NUMBERS:
                    conversion.put(target, changed(path, value, change))
            case Left(why, unless):
                if not any(value is one or value == one for one in unless):
                    conversion.remarks[path] = why
            case None:
                conversion.remarks[path] = UNKNOWN
    return conversion


def _ruled(tree: Mapping[str, Any], rules: Mapping[str, Rule], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        path = f"{above}.{key}" if above else str(key)
        deeper = any(rule.startswith(f"{path}.") for rule in rules)
        if path not in rules and deeper and isinstance(value, Mapping):
            yield from _ruled(value, rules, path)
        else:
            yield path, value
