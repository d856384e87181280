"""Compute solar-system object ids from Minor Planet Center designations."""

from __future__ import annotations

import re

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PROVISIONAL = re.compile(r"(?P<year>\d{4}) (?P<half>[A-HJ-Y])(?P<letter>[A-HJ-Z])(?P<cycle>\d{0,3})")
_SURVEY = re.compile(r"(?P<number>\d{1,4}) (?P<survey>P-L|T-[123])")


def pack_provisional_designation(designation: str) -> str:
    """Pack a provisional designation as the Minor Planet Center does.

    Parameters
    ----------
    designation
        Such as ``1998 SV127`` or ``2040 P-L``; an already packed designation
        (without a blank) is returned unchanged.

    Returns
    -------
    packed
        Seven characters, ``J98SC7V`` or ``PLS2040``.

    Raises
    ------
    ValueError
        Raised if it is not a provisional designation, or does not fit in seven characters.

    Notes
    -----
    https://www.minorplanetcenter.net/iau/info/PackedDes.html
    """
    designation = designation.strip()
    if " " not in designation:
        return designation
    if survey := _SURVEY.fullmatch(designation):
        return f"{survey['survey'].replace('-', '')}S{int(survey['number']):04d}"
    parts = _PROVISIONAL.fullmatch(designation)
    if parts is None:
        raise ValueError(f"Not a provisional designation: {designation!r}.")
    century, year = divmod(int(parts["year"]), 100)
    tens, ones = divmod(int(parts["cycle"] or 0), 10)
    if tens >= len(_BASE62):
        raise ValueError(f"Designation {designation!r} does not fit in seven characters.")
    return f"{_BASE62[century]}{year:02d}{parts['half']}{_BASE62[tens]}{ones}{parts['letter']}"


def ss_object_id(designation: str) -> int:
    """Return Rubin's ``ssObjectId``: the packed designation's characters as bytes of an integer.

    Parameters
    ----------
    designation
        Provisional designation, packed or not.

    Raises
    ------
    ValueError
        Raised if it cannot be packed in 7 characters (8 are accepted if already packed).
    """
    packed = pack_provisional_designation(designation)
    # A ninth character, or a leading byte above 0x7f, would exceed the 63 bits of a signed id.
    if not 7 <= len(packed) <= 8 or not packed.isascii():
        raise ValueError(f"Not a packed provisional designation: {packed!r}.")
    return int.from_bytes(packed.encode("ascii"), "big")
