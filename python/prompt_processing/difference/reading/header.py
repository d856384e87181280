"""Read a camera's header: gain, read noise, saturation, unit, and the keywords for the difference."""

from __future__ import annotations

import logging
import re
from typing import Any

import numpy as np
from astropy.io import fits

_LOG = logging.getLogger(__name__)

GAIN_KEYS = ("EGAIN", "GAIN", "CCDGAIN", "EPERDN", "GAINEFF", "GAIN1", "DETGAIN", "HIERARCH CELL.GAIN")
READ_NOISE_KEYS = ("RDNOISE", "READNOIS", "ENOISE", "RON", "RDNOISE1", "RDNOISEA", "READNOISE")
SATURATION_KEYS = ("SATURATE", "SATLEVEL", "SATUR", "SATURATA", "MAXLIN", "MAXADU", "SATURLVL", "SATURATN")
"""Header keywords, most common first."""

_EXPOSURE_TIME_KEYS = ("EXPTIME", "EXPOSURE", "XPOSURE", "EXPOSED", "TEXPTIME", "ITIME")

LARGEST_GAIN = 20.0
"""Electrons per unit; a larger ``GAIN`` without a unit is a camera setting, as amateur programs write it."""

_ELECTRON = re.compile(r"\be(-|lec|/|\b)|electron", re.IGNORECASE)
_SETTING = re.compile(r"setting|gain set|camera gain|sensor gain|sub gain|gain value|\biso\b", re.IGNORECASE)

_STRUCTURE = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|GROUPS|BSCALE|BZERO|BLANK|DATAMIN|DATAMAX|"
    r"EXTNAME|EXTVER|EXTLEVEL|INHERIT|CHECKSUM|DATASUM|BSOFTEN|BOFFSET|END"
)
"""Keywords of one file's structure and values, wrong in any other file."""
_COMPRESSION = re.compile(
    r"Z(IMAGE|TABLE|CMPTYPE|BITPIX|NAXIS\d*|TILE\d+|NAME\d+|VAL\d+|QUANTIZ|DITHER0|SIMPLE|EXTEND|TENSION|"
    r"PCOUNT|GCOUNT|BLOCKED|HECKSUM|DATASUM|BLANK|SCALE|ZERO|MASKCMP)"
)
"""Keywords of tile compression; uncompressed files may use the same names for other things."""

_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")
"""Characters that some programs write and that no FITS header may contain."""

_WCS = re.compile(
    r"WCSAXES|WCSNAME|C(TYPE|RVAL|RPIX|UNIT|DELT|ROTA|NAME|RDER|SYER)\d+|CD\d+_\d+|PC\d+_\d+|PC\d{6}|"
    r"P[VS]\d+_\d+|LONPOLE|LATPOLE|RADE(CSYS|SYS)|EQUINOX|EPOCH|(A|B|AP|BP)_(ORDER|DMAX|\d+_\d+)|"
    r"(DP|DQ)\d+.*|C[PQ]DIS\d+|C[PQ]ERR\d+|D2IM.*|AXISCORR|WAT\d+_\d+|WAXMAP\d+|LTM\d_\d|LTV\d"
)
"""Keywords of the WCS, including those of distortions and IRAF."""


def is_wcs_keyword(keyword: str) -> bool:
    """Return whether a keyword is part of the primary WCS."""
    return _WCS.fullmatch(keyword) is not None


def merged_header(primary: fits.Header, own: fits.Header) -> fits.Header:
    """Merge the header of an image with that of the file's first HDU.

    Parameters
    ----------
    primary : `~astropy.io.fits.Header`
        Header of the first HDU; its keywords are inherited where the image has none.
    own : `~astropy.io.fits.Header`
        Header of the image; may be the same.

    Returns
    -------
    header : `~astropy.io.fits.Header`
        Without keywords of the file's structure, checksums, and tile compression. Either header's WCS
        is taken as a whole. Cards that are not valid FITS are left out.
    """
    own_wcs = any(key.startswith(("CTYPE", "CRVAL")) for key in own)
    merged = fits.Header()
    sources = (own,) if primary is own else (primary, own)
    for source in sources:
        compressed = any(key in source for key in ("ZIMAGE", "ZCMPTYPE"))
        for card in source.cards:
            try:
                keyword, value, comment = card.keyword, card.value, card.comment
            except (fits.VerifyError, ValueError):
                continue
            dropped = _STRUCTURE.fullmatch(keyword) or (compressed and _COMPRESSION.fullmatch(keyword))
            if dropped or (source is primary and source is not own and own_wcs and is_wcs_keyword(keyword)):
                continue
            _append(merged, keyword, value, comment)
    return merged


def _append(header: fits.Header, keyword: str, value: Any, comment: str) -> None:
    value = _UNPRINTABLE.sub(" ", value).rstrip() if isinstance(value, str) else value
    comment = _UNPRINTABLE.sub(" ", comment)
    if keyword in ("COMMENT", "HISTORY", ""):
        header.add_history(value) if keyword == "HISTORY" else header.append((keyword, value))
        return
    name = f"HIERARCH {keyword}" if len(keyword) > 8 or not re.fullmatch(r"[A-Z0-9_-]+", keyword) else keyword
    try:
        header[name] = (value, comment)
    except (ValueError, fits.VerifyError):
        # NaN and infinite values have no FITS form, but some programs write them.
        header[name] = (str(value), comment)


def number(value: Any) -> float | None:
    """Return a header's value as a number, also from a string (``'1.9 e-/ADU'``); `None` if it is not one."""
    if isinstance(value, str):
        match = re.match(r"\s*([+-]?(\d+([.,]\d*)?|[.,]\d+)([eEdD][+-]?\d+)?)", value)
        if match is None:
            return None
        value = re.sub("[dD]", "e", match[1].replace(",", "."))
    try:
        result = float(value)
    except (TypeError, ValueError):
        return None
    return result if np.isfinite(result) else None


def positive(header: fits.Header, keys: tuple[str, ...]) -> tuple[str, float] | None:
    """Return the first of the keywords with a positive number, and that number."""
    for key in keys:
        value = number(header.get(key))
        if value is not None and value > 0:
            return key.removeprefix("HIERARCH "), value
    return None


def gain(header: fits.Header, name: str) -> float | None:
    """Return the electrons per unit of an image; `None` if the header does not contain them.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Header from `merged_header`.
    name : `str`
        Name of the image, for messages.

    Notes
    -----
    ``BUNIT`` overrides the gain keywords: electrons need none, rates need the exposure time, and fluxes
    (Jy, nanomaggies, ...) have no gain in a header. ``GAIN`` as amateur programs write it is a setting
    of the camera; ``EGAIN`` is electrons per ADU.
    """
    unit, rate = image_unit(header)
    if unit == "flux":
        return None
    per_unit = 1.0
    if unit == "count":
        found = _keyword_gain(header, name)
        if found is None:
            return None
        per_unit = found
    if rate:
        time = positive(header, _EXPOSURE_TIME_KEYS)
        if time is None:
            _LOG.warning(
                "%s: BUNIT is a rate (%s) but the header has no exposure time: the gain is unknown.",
                name,
                header["BUNIT"],
            )
            return None
        per_unit *= time[1]
    return per_unit


def image_unit(header: fits.Header) -> tuple[str, bool]:
    """Return what a pixel counts (``electron``, ``count``, ``flux``), and whether that is per second."""
    text = str(header.get("BUNIT", "")).strip().lower()
    rate = bool(
        re.search(r"/\s*(s|sec|second|seconds)\b|(per|/)\s*sec|\bs(ec)?\s*\*{0,2}\^?-1|\bcps\b", text)
    )
    base = re.sub(r"[/\s*^.(].*|per.*", "", text)
    if base in ("electron", "electrons", "e", "e-", "photon", "photons", "photoelectron"):
        return "electron", rate
    if base in ("", "adu", "adus", "dn", "count", "counts", "ct", "cts", "cps", "digital", "data"):
        return "count", rate
    return "flux", rate


def _keyword_gain(header: fits.Header, name: str) -> float | None:
    amplifiers = [number(header.get(key)) for key in ("GAINA", "GAINB")]
    for key in GAIN_KEYS:
        value = number(header.get(key))
        if value is None or value <= 0:
            continue
        comment = str(header.comments[key]) if key in header else ""
        in_electrons = _ELECTRON.search(comment) is not None
        if key == "GAIN" and not in_electrons and (value > LARGEST_GAIN or _SETTING.search(comment)):
            _LOG.warning(
                "%s: GAIN = %g is a setting of the camera, not electrons per unit, and is not used; "
                "set the electrons per unit with --gain.",
                name,
                value,
            )
            continue
        return value
    known = [value for value in amplifiers if value is not None and value > 0]
    return float(np.mean(known)) if known else None


def linear_pixels(image: np.ndarray, header: fits.Header) -> np.ndarray:
    """Undo the asinh scaling of Pan-STARRS images, in place where there is one.

    Parameters
    ----------
    image : `~numpy.ndarray` of float, shape (height, width)
        Pixels as in the file.
    header : `~astropy.io.fits.Header`
        The image's own, with ``BSOFTEN`` and ``BOFFSET`` if the pixels are scaled.

    Returns
    -------
    image : `~numpy.ndarray`, shape (height, width)
        Linear in the flux.
    """
    softening, offset = number(header.get("BSOFTEN")), number(header.get("BOFFSET"))
    if softening is None or offset is None or softening <= 0:
        return image
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(offset + 2 * softening * np.sinh(image * (np.log(10) / 2.5)), image.dtype)


def data_section(header: fits.Header, shape: tuple[int, int]) -> tuple[slice, slice] | None:
    """Return rows and columns of the pixels exposed to the sky in a raw frame with overscan.

    Returns `None` if the header has no section, or one that cannot belong to this image: trimmed frames
    often keep the keywords.
    """
    bias = _section(header.get("BIASSEC"), shape)
    data = _section(header.get("DATASEC"), shape) or _section(header.get("TRIMSEC"), shape)
    if bias is None or data is None:
        return None
    overlap = all(min(a.stop, b.stop) > max(a.start, b.start) for a, b in zip(bias, data, strict=True))
    return None if overlap else data


def _section(text: Any, shape: tuple[int, int]) -> tuple[slice, slice] | None:
    match = re.fullmatch(r"\s*\[\s*(\d+)\s*:\s*(\d+)\s*,\s*(\d+)\s*:\s*(\d+)\s*\]\s*", str(text))
    if match is None:
        return None
    x0, x1, y0, y1 = (int(group) for group in match.groups())
    if not (1 <= x0 < x1 <= shape[1] and 1 <= y0 < y1 <= shape[0]):
        return None
    return slice(y0 - 1, y1), slice(x0 - 1, x1)
