"""YAML that people write."""

from __future__ import annotations

from typing import Any

import yaml

_DEEPEST = 50
"""Brackets within brackets; the loader's time grows with the square of them."""


class _PlainLoader(yaml.SafeLoader):
    def fetch_flow_collection_start(self, token_class: Any) -> None:
        if self.flow_level >= _DEEPEST:
            raise yaml.YAMLError("it is nested too deeply")
        super().fetch_flow_collection_start(token_class)

    def construct_scalar(self, node: Any) -> Any:
        value = super().construct_scalar(node)
        # An escape may name half of a character, which nobody can write to a log or a database afterwards.
        if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
            raise yaml.YAMLError(f"{value!a} has half of a character\n{node.start_mark}")
        return value


def parse_yaml(text: str | bytes) -> Any:
    """Read YAML with plain values only, whoever wrote it.

    Parameters
    ----------
    text : `str` or `bytes`
        The document.

    Returns
    -------
    value
        What it says.

    Raises
    ------
    ValueError
        Raised if it is no YAML, nested too deeply, asks for Python objects, or has a value that looks like a
        date or a number and is none, or that is no Unicode text.
    """
    try:
        return yaml.load(text, Loader=_PlainLoader)
    except yaml.YAMLError as error:
        raise ValueError(f"not YAML: {error}") from error
    except RecursionError as error:
        raise ValueError("not YAML: it is nested too deeply") from error
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        # The loader makes dates and numbers of what looks like them.
        raise ValueError(f"not YAML: a value is not what it looks like: {error}") from error
