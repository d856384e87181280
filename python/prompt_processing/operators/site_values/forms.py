"""Forms that values have in one layout and not in the other."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = [
    "flag",
    "further_ports",
    "number",
    "one_line",
    "ranges",
    "redis_memory",
    "whole",
    "without_scraping",
    "words",
]

_BYTES = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12} | {
    f"{name}i": 1024.0**power for power, name in enumerate("KMGT", start=1)
}


def flag(value: Any) -> bool:
    """Return a switch that may be written as a number or as text."""
    if isinstance(value, str):
        if value.lower() in ("1", "true", "yes"):
            return True
        if value.lower() in ("0", "false", "no", ""):
            return False
        raise ValueError("neither true nor false")
    return bool(value)


def number(value: Any) -> float | int:
    """Return a number that may be written as text."""
    if isinstance(value, bool):
        raise ValueError("not a number")
    exact = float(value)
    if not math.isfinite(exact):
        raise ValueError("not a finite number")
    return int(exact) if exact.is_integer() else exact


def whole(value: Any) -> int:
    """Return a whole number that may be written as text."""
    exact = number(value)
    if not isinstance(exact, int):
        raise ValueError("not a whole number")
    return exact


def one_line(value: Any) -> str:
    """Return the words of a text in one line."""
    if not isinstance(value, str):
        raise TypeError("not a text")
    return " ".join(value.split())


def words(value: Any) -> list[str]:
    """Return the words of a text, or the list itself."""
    return value.split() if isinstance(value, str) else list(value)


def without_scraping(annotations: Mapping[str, str]) -> dict[str, str]:
    """Return annotations without those that the charts set themselves."""
    texts = {str(name): str(value) for name, value in annotations.items()}
    return {name: value for name, value in texts.items() if not name.startswith("prometheus.io/")}


def ranges(numbers: Iterable[int]) -> list[int | str]:
    """Return whole numbers as numbers and ranges ``first-last``.

    Parameters
    ----------
    numbers
        In any order.
    """
    runs: list[list[int]] = []
    for one in sorted(set(numbers)):
        if runs and one == runs[-1][-1] + 1:
            runs[-1].append(one)
        else:
            runs.append([one])
    return [run[0] if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]


def redis_memory(limit: Any) -> str:
    """Return Redis's limit for data that fits into the memory limit of its container.

    Parameters
    ----------
    limit
        Quantity of Kubernetes, such as ``4Gi``.
    """
    match = re.fullmatch(r"(\d+(?:\.\d*)?(?:e\d{1,2})?)([KMGT]i|[kMGT]|)", str(limit))
    if match is None:
        raise ValueError("not a quantity such as 512Mi")
    # Buffers of clients and the rewriting of the file take the rest.
    return f"{max(1, int(0.75 * float(match[1]) * _BYTES[match[2]] / 1024**2))}mb"


def further_ports(addresses: Iterable[Any], allowed: Sequence[int]) -> list[int]:
    """Return ports of addresses that a network policy does not allow yet.

    Parameters
    ----------
    addresses
        ``host:port``, several separated by commas, or URLs. Others have no port.
    allowed
        Ports that are allowed.
    """
    ports = {
        int(port)
        for text in addresses
        for port in re.findall(r":(\d{2,5})(?=$|[,/])", str(text or "").strip())
    }
    return sorted(ports - set(allowed))
