"""JSON from outside."""

from __future__ import annotations

import json
from typing import Any


def parse_json(text: str | bytes | bytearray) -> Any:
    """Read JSON that anybody may have written.

    Parameters
    ----------
    text : `str` or `bytes`
        The document; bytes in any encoding of Unicode.

    Returns
    -------
    value
        What it says.

    Raises
    ------
    ValueError
        Raised if it is no JSON, or nested so deeply that only an attack can be meant.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        # Not a ValueError in Python, and so past everybody who expects one.
        raise ValueError("it is nested too deeply") from error
