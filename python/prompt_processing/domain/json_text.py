"""JSON from untrusted sources."""

from __future__ import annotations

import json
from typing import Any


def parse_json(text: str | bytes | bytearray) -> Any:
    """Parse JSON from an untrusted source.

    Parameters
    ----------
    text : `str` or `bytes`
        The document; bytes in any Unicode encoding.

    Returns
    -------
    value
        The parsed value.

    Raises
    ------
    ValueError
        Raised if the text is not JSON, or is nested too deeply for any honest sender.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        # A RecursionError is not a ValueError, so callers would not catch it.
        raise ValueError("it is nested too deeply") from error
