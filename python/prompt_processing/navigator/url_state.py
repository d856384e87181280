"""State of a view as the query of its address, and back."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol
from urllib.parse import parse_qsl, urlencode

__all__ = ["State", "from_query", "link", "read_id", "to_query", "with_changes"]

_LONGEST = 2000
"""Characters of a value that are read; what is longer was not written by a page."""

_LARGEST = 2**63 - 1


class State(Protocol):
    """A frozen dataclass; each field has a default, and is one parameter of the address.

    Fields are ``str``, ``int``, ``float``, ``bool``, ``tuple[str, ...]``, a `typing.Literal` of strings, or
    one of these or `None`.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]


def from_query[S: State](kind: type[S], query: str) -> tuple[S, list[str]]:
    """Read a state from the query of an address.

    Parameters
    ----------
    kind
        Class of the state.
    query
        Query, with or without the question mark; parameters that the class lacks are ignored.

    Returns
    -------
    state
        The state, with the default where a value is missing or wrong.
    problems
        A sentence for each wrong value.
    """
    given: dict[str, str] = {}
    problems = []
    try:
        # The last value of a repeated parameter wins.
        given = dict(parse_qsl(query.removeprefix("?"), keep_blank_values=True, max_num_fields=200))
    except ValueError:
        problems.append("The address has too many parameters.")
    hints = typing.get_type_hints(kind)
    values = {}
    for field in dataclasses.fields(kind):
        if field.name not in given:
            continue
        text = given[field.name]
        try:
            if len(text) > _LONGEST:
                raise ValueError(f"at most {_LONGEST} characters")
            values[field.name] = _read(hints[field.name], text)
        except ValueError as error:
            problems.append(f"The address has {field.name}={text[:60]}, but expects {error}.")
    return kind(**values), problems


def to_query(state: State) -> str:
    """Return the query of a state, with its question mark; values that are the default are left out."""
    pairs = []
    for field in dataclasses.fields(state):
        value = getattr(state, field.name)
        if value != field.default:
            pairs.append((field.name, _write(value)))
    return "?" + urlencode(pairs) if pairs else ""


def link(view: str, **parameters: Any) -> str:
    """Return the relative address of a view with some parameters; those that are `None` are left out."""
    given = {name: value for name, value in parameters.items() if value is not None}
    return f"{view}?{urlencode(given)}" if given else view


def with_changes[S: State](state: S, **changes: Any) -> S:
    """Return a state with some values changed."""
    return dataclasses.replace(state, **changes)


def read_id(text: str) -> int:
    """Return a whole number that a database can hold.

    Raises
    ------
    ValueError
        Raised if the text is not such a number; the message says what is expected.
    """
    # int() also reads other alphabets' digits and underscores.
    digits = text.removeprefix("-")
    if not (text.isascii() and digits.isdecimal() and len(digits) <= 19) or abs(int(text)) > _LARGEST:
        raise ValueError("a whole number of at most 64 bits")
    return int(text)


def _read(hint: Any, text: str) -> Any:
    """Convert a text.

    Raises
    ------
    ValueError
        Raised if the text has the wrong form; the message says what is expected.
    """
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        (inner,) = (one for one in typing.get_args(hint) if one is not types.NoneType)
        return None if text == "" else _read(inner, text)
    if origin is typing.Literal:
        choices: Sequence[str] = typing.get_args(hint)
        if text not in choices:
            raise ValueError("one of " + ", ".join(choices))
        return text
    if origin is tuple:
        return tuple(word for word in text.split(",") if word)
    if hint is bool:
        if text not in ("0", "1"):
            raise ValueError("0 or 1")
        return text == "1"
    if hint is int:
        return read_id(text)
    if hint is float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise ValueError("a number")
        return number
    return text


def _write(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, float):
        # The shortest text that is read back as the same number.
        return repr(value)
    return str(value)
