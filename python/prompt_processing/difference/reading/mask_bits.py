"""What the bits of a mask mean: bad or saturated pixels, sources, or nothing about a pixel's value."""

from __future__ import annotations

import logging

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from prompt_processing.imaging.percentiles import percentiles

from ...images import Mask
from ..errors import UnreadableImageError
from .header import number
from .planes import Plane, check_shape

_LOG = logging.getLogger(__name__)

INFORMATIONAL_SHARE = 0.1
"""Share of pixels above which a scattered bit on ordinary pixels is informational."""

MUCH_MASKED, ALL_MASKED = 0.25, 0.95
"""Shares of masked pixels above which to warn, and to refuse."""

SOURCE_SIGMA, SOURCE_SHARE, FEWEST_BRIGHT = 10.0, 0.9, 100
"""A bit that this share of the pixels brighter than this many sigmas have, and few others, marks sources;
fewer bright pixels do not show it."""

_JWST = {"JWST": (1, 0), "ROMAN": (1, 0)}
_HST_BAD = 1 | 2 | 4 | 8 | 16 | 128 | 512 | 4096 | 8192
_HST_SATURATED = 256 | 2048
_ZTF_BAD = 0b1111_1011_1101
_ZTF_SATURATED = 1 << 8
_PS1_GOOD = {"SUSPECT", "BURNTOOL", "STREAK", "STARCORE", "CONV.POOR", "MARK", "GHOST"}
_MEANINGLESS = ("DETECTED", "DETECTED_NEGATIVE")


def mask_planes(
    plane: Plane, image: NDArray[np.float32], header: fits.Header, bits: int | None = None
) -> NDArray[np.int32]:
    """Convert a file's mask to our mask planes.

    Parameters
    ----------
    plane : `Plane`
        The file's mask or data quality; 0 is good.
    image : `~numpy.ndarray` of float32, shape (height, width)
        Its pixels: a bit set on many ordinary pixels is informational.
    header : `~astropy.io.fits.Header`
        Header of the image: the meaning of bits depends on the telescope.
    bits : `int`, optional
        Bits that make a pixel bad, instead of the telescope's known ones.

    Returns
    -------
    mask : `~numpy.ndarray` of int32, shape (height, width)
        Bits of `Mask`.
    """
    check_shape(plane, image.shape)
    raw = plane.values
    if raw.dtype.kind == "f":
        raw = np.where(np.isfinite(raw), raw, 1)
        # Fractional masks, of 0 and 0.5 for example: all but 0 is bad.
        raw = np.where((raw != 0) & (np.abs(raw) < 1), 1, raw)
    # The smallest sufficient type: masks of large images are large.
    small = (raw.dtype.kind in "biu" and raw.dtype.itemsize < 4) or (
        raw.dtype.kind == "i" and raw.dtype.itemsize == 4
    )
    kind = np.int16 if raw.dtype.kind in "bu" and raw.dtype.itemsize == 1 else np.int32 if small else np.int64
    values: NDArray[np.signedinteger] = raw.astype(kind, copy=False)
    largest = int(np.iinfo(kind).max)
    if bits is not None and small:
        bits &= largest
    out = np.zeros(image.shape, np.int32)
    if bits is not None:
        out[(values & bits) != 0] = int(Mask.BAD)
        return out
    named = {key[3:]: number(plane.header[key]) for key in plane.header if key.startswith("MP_")}
    for name, bit in named.items():
        if bit is not None and name in Mask.__members__ and name not in _MEANINGLESS:
            out[(values >> round(bit)) & 1 == 1] |= int(Mask[name])
    if named:
        return out
    bad, saturated = _meanings(plane.header, header, values)
    if bad is None:
        bad = _without_information(plane, values, image)
    elif small:
        bad, saturated = bad & largest, saturated & largest
    for which, meaning in ((bad, Mask.BAD), (saturated, Mask.SAT)):
        if which:
            out |= np.where(values & which, np.int32(int(meaning)), np.int32(0))
    _warn_of_much(plane, values, out)
    return out


def _meanings(
    own: fits.Header, image: fits.Header, values: NDArray[np.signedinteger]
) -> tuple[int | None, int]:
    """Return the bad bits, `None` if they are unknown, and the bits of saturation."""
    telescope = str(own.get("TELESCOP", image.get("TELESCOP", ""))).strip().upper()
    if telescope in _JWST:
        return _JWST[telescope]
    if telescope == "HST":
        return _HST_BAD, _HST_SATURATED
    if str(own.get("INSTRUME", image.get("INSTRUME", ""))).upper().startswith("ZTF"):
        return _ZTF_BAD & ~_ZTF_SATURATED, _ZTF_SATURATED
    names = {
        str(own[key]).strip(): number(own.get(f"MSKVAL{key[6:]}")) for key in own if key.startswith("MSKNAM")
    }
    known = {name: round(value) for name, value in names.items() if value is not None}
    if known:
        bad = sum({value for name, value in known.items() if name not in {*_PS1_GOOD, "SAT"}})
        return bad, known.get("SAT", 0)
    return None, 0


def _without_information(plane: Plane, values: NDArray[np.signedinteger], image: NDArray[np.float32]) -> int:
    """Return all bits except those set on many scattered, ordinary-looking pixels."""
    every = int(np.bitwise_or.reduce(values, axis=None))
    bad = every
    if common := int(np.bitwise_and.reduce(values, axis=None)):
        _LOG.warning(
            "%s: %d is set on every pixel, so it distinguishes none and is not used.", plane.name, common
        )
        bad &= ~common
        values = values & ~values.dtype.type(common)
    if every >= 0:
        bad &= ~_marks_of_sources(plane, values, image)
    if every < 0 or np.count_nonzero(values) < INFORMATIONAL_SHARE * values.size:
        return bad
    sample = image[::2, ::2]
    for bit in range(every.bit_length()):
        flagged = (values >> bit) & 1 == 1
        share = float(np.mean(flagged))
        if not INFORMATIONAL_SHARE < share < 1:
            continue
        clumped = np.mean(flagged[:, 1:] & flagged[:, :-1]) / share
        here, there = sample[flagged[::2, ::2]], sample[~flagged[::2, ::2]]
        if clumped < 0.5 * (1 + share) and _alike(here, there):
            bad &= ~(1 << bit)
            _LOG.warning(
                "%s: bit %d is set on %.0f%% of the pixels, which look like all others: it is not used. "
                "--mask-bits chooses the bits that make a pixel bad; --mask-bits 0 ignores the mask.",
                plane.name,
                1 << bit,
                100 * share,
            )
    return bad


def _marks_of_sources(plane: Plane, values: NDArray[np.signedinteger], image: NDArray[np.float32]) -> int:
    """Return the bits that mark the sources of the image rather than bad pixels."""
    sample = image[::6, ::6]
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        return 0
    low, sky, high = percentiles(sample, (15.9, 50, 84.1))
    bright = image > np.float32(sky + SOURCE_SIGMA * (high - low) / 2)
    n_bright = np.count_nonzero(bright)
    if not FEWEST_BRIGHT <= n_bright < image.size:
        return 0
    marks = 0
    for bit in range(int(np.bitwise_or.reduce(values, axis=None)).bit_length()):
        flagged = (values >> bit) & 1 == 1
        on_bright = np.count_nonzero(flagged & bright)
        elsewhere = (np.count_nonzero(flagged) - on_bright) / (image.size - n_bright)
        if on_bright > SOURCE_SHARE * n_bright and elsewhere < 1 - SOURCE_SHARE:
            marks |= 1 << bit
            _LOG.warning(
                "%s: bit %d marks the sources, not bad pixels: it is not used. --mask-bits chooses the bits "
                "that make a pixel bad.",
                plane.name,
                1 << bit,
            )
    return marks


def _alike(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    quantiles = [
        np.nanpercentile(part, [16, 50, 84]) if np.isfinite(part).any() else None for part in (one, other)
    ]
    if quantiles[0] is None or quantiles[1] is None:
        return False
    width = float(quantiles[1][2] - quantiles[1][0]) / 2
    return bool(np.abs(quantiles[0] - quantiles[1]).max() < 0.3 * width)


def _warn_of_much(plane: Plane, values: NDArray[np.signedinteger], mask: NDArray[np.int32]) -> None:
    share = np.count_nonzero(mask) / mask.size
    if share < MUCH_MASKED:
        return
    every = int(np.bitwise_or.reduce(values, axis=None)) & 0x7FFFFFFF
    bits = [1 << bit for bit in range(31) if every & (1 << bit)]
    shares = {bit: float(np.mean((values & bit) != 0)) for bit in bits}
    listed = ", ".join(
        f"bit {bit} {s:.0%}" for bit, s in sorted(shares.items(), key=lambda i: -i[1])[:4] if s > 0
    )
    if share > ALL_MASKED:
        raise UnreadableImageError(
            f"{plane.name} masks {share:.0%} of the pixels ({listed}), and 0 is good: is it inverted? "
            "--mask-bits chooses the bits that make a pixel bad; --mask-bits 0 ignores the mask."
        )
    _LOG.warning(
        "%s masks %.0f%% of the pixels (%s). --mask-bits chooses the bits that make a pixel bad; "
        "--mask-bits 0 ignores the mask.",
        plane.name,
        100 * share,
        listed,
    )
