"""The keywords of a WCS, as numbers and for the two axes of an image."""

from __future__ import annotations

import re
from typing import Any

from astropy.io import fits

from .header import is_wcs_keyword, number

_TEXT_KEYS = re.compile(
    r"CTYPE\d+|CUNIT\d+|WCSNAME|RADE(SYS|CSYS)|CNAME\d+|WAT\d+_\d+|C[PQ]DIS\d+|D2IMDIS\d+|PS\d+_\d+"
)


class UnusableWcsError(Exception):
    """Error for an unusable WCS; its message follows the file's name."""


def flat_wcs_cards(header: fits.Header, axes: tuple[int, int]) -> dict[str, Any]:
    """Return the WCS keywords of two axes of an image, renumbered as axes 1 and 2.

    Keywords that wcslib would attribute to a digitised plate (``XPIXELSZ``) are left out.
    """
    numbers = {str(axis): str(i + 1) for i, axis in enumerate(axes)}
    cards: dict[str, Any] = {}
    for keyword in header:
        if not is_wcs_keyword(keyword) or keyword.startswith(("WCSAXES", "WAXMAP", "LTM", "LTV", "AXISCORR")):
            continue
        old = re.fullmatch(r"PC(\d{3})(\d{3})", keyword)
        name = f"PC{int(old[1])}_{int(old[2])}" if old else keyword
        matrix = re.fullmatch(r"(CD|PC)(\d+)_(\d+)", name)
        single = re.fullmatch(r"(C[A-Z]+|P[VS]|WAT|D[PQ]|[CD][PQ]DIS|CPERR|CQERR)(\d+)((_\d+)?|\..*)", name)
        if matrix:
            if matrix[2] not in numbers or matrix[3] not in numbers:
                continue
            name = f"{matrix[1]}{numbers[matrix[2]]}_{numbers[matrix[3]]}"
        elif single:
            if single[2] not in numbers:
                continue
            name = f"{single[1]}{numbers[single[2]]}{single[3]}"
        cards[name] = header[keyword]
    return cards


def axis_type(cards: dict[str, Any], axis: int) -> str:
    """Return the coordinate of an axis: ``RA`` of ``RA---TAN``."""
    return str(cards.get(f"CTYPE{axis}", "")).strip().upper().partition("-")[0]


def mend_numbers(cards: dict[str, Any]) -> None:
    """Turn numbers that are written as strings into numbers, in place; sexagesimal ``CRVAL`` too."""
    for keyword, value in list(cards.items()):
        if _TEXT_KEYS.fullmatch(keyword):
            cards[keyword] = str(value).strip()
            continue
        if isinstance(value, str):
            text = value.strip()
            mended = _sexagesimal(text, axis_type(cards, int(keyword[5:]))) if "CRVAL" in keyword else None
            if mended is None and re.fullmatch(r"[+-]?[\d.]+([eEdD][+-]?\d+)?|[JB][\d.]+", text):
                mended = number(text.lstrip("JB"))
        else:
            mended = number(value)
        if mended is None:
            if keyword in ("EQUINOX", "EPOCH", "LONPOLE", "LATPOLE") or keyword.startswith(
                ("CRDER", "CSYER")
            ):
                del cards[keyword]
                continue
            raise UnusableWcsError(f"{keyword} = {value!r} is not a number")
        cards[keyword] = round(mended) if re.fullmatch(r"(A|B|AP|BP)_ORDER", keyword) else mended
    if cards.get("EPOCH") not in (1950.0, 2000.0):
        # In newer files it is the date of the observation.
        cards.pop("EPOCH", None)
    for axis in (1, 2):
        unit = str(cards.get(f"CUNIT{axis}", "")).lower()
        if unit in ("degree", "degrees", "degs", "d"):
            cards[f"CUNIT{axis}"] = "deg"


def _sexagesimal(text: str, axis_type: str) -> float | None:
    """Return degrees from ``10:00:00.0`` or ``+02 12 00``; a right ascension is in hours."""
    match = re.fullmatch(r"([+-]?)(\d+)[: hd](\d+)[: m'](\d+(\.\d*)?)[s\"]?", text)
    if match is None:
        return None
    value = int(match[2]) + int(match[3]) / 60 + float(match[4]) / 3600
    return (-value if match[1] == "-" else value) * (15 if axis_type == "RA" else 1)
