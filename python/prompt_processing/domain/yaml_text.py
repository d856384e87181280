"""YAML from untrusted sources."""

from __future__ import annotations

from typing import Any

import yaml

_DEEPEST = 50
"""Deepest nesting of brackets; the loader's time grows with its square."""


class _PlainLoader(yaml.SafeLoader):
    def fetch_flow_collection_start(self, token_class: Any) -> None:
        if self.flow_level >= _DEEPEST:
            raise yaml.YAMLError("it is nested too deeply")
        super().fetch_flow_collection_start(token_class)

    def construct_scalar(self, node: Any) -> Any:
        value = super().construct_scalar(node)
        # An escape may name half of a surrogate pair, which cannot be written to a log or a database.
        if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
            raise yaml.YAMLError(f"{value!a} has half of a character\n{node.start_mark}")
        return value


def parse_yaml(text: str | bytes) -> Any:
    """Parse YAML from an untrusted source, with plain values only.

    Parameters
    ----------
    text : `str` or `bytes`
        The document.

    Returns
    -------
    value
        The parsed value.

    Raises
    ------
    ValueError
        Raised if the text is not YAML, is nested too deeply, names Python objects, or has a value that looks
        like a date or number but is not valid, or that is not Unicode text.
    """
    try:
        return yaml.load(text, Loader=_PlainLoader)
    except yaml.YAMLError as error:
        raise ValueError(f"not YAML: {error}") from error
    except RecursionError as error:
        raise ValueError("not YAML: it is nested too deeply") from error
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        # The loader converts values that look like dates and numbers.
        raise ValueError(f"not YAML: a value is not what it looks like: {error}") from error
