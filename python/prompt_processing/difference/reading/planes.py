"""The planes beside an image: mask or data quality, variance, weights; in the same file or another."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ...images import Mask
from ..errors import UnreadableImageError
from .files import (
    INVERSE_VARIANCE_NAMES,
    MASK_NAMES,
    SIGMA_NAMES,
    VARIANCE_NAMES,
    WEIGHT_NAMES,
    extension_key,
    find_image,
    open_fits,
    split_extension,
)
from .header import merged_header, number
from .stored_pixels import pixels

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


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """A plane as stored in its file.

    Attributes
    ----------
    values : `~numpy.ndarray`, shape (height, width)
        Raw values.
    header : `~astropy.io.fits.Header`
        Header of its extension and file.
    name : `str`
        File and extension, for messages.
    kind : `str`
        Extension name, such as ``DQ``; empty if it has none.
    """

    values: NDArray[Any]
    header: fits.Header
    name: str
    kind: str


def find_plane(
    hdus: fits.HDUList,
    image: Any,
    file: str,
    wanted: str | None,
    names: tuple[str, ...],
    option: str,
    plane: int | None = None,
) -> Plane | None:
    """Find and read the plane that goes with an image.

    Parameters
    ----------
    hdus : `~astropy.io.fits.HDUList`
        The open file of the image.
    image : `~astropy.io.fits.ImageHDU`
        The image; its ``EXTVER`` selects among planes of the same name.
    file : `str`
        Name of the image's file.
    wanted : `str` or `None`
        Extension of that file, or another file, optionally with its extension.
    names : `tuple` of `str`
        Usual extension names, in order of preference.
    option : `str`
        Option that set ``wanted``, for messages.
    plane : `int` or `None`
        Plane of a cube, from 1.

    Raises
    ------
    UnreadableImageError
        Raised if the requested plane is missing or has another shape.
    """
    if wanted is None:
        hdu = _beside(hdus, image, names)
        return None if hdu is None else _read(hdus, hdu, f"{file}[{hdu.name}]", plane)
    try:
        hdu = hdus[extension_key(wanted)]
    except (KeyError, IndexError, UnreadableImageError):
        other, extension = split_extension(wanted)
        if not os.path.exists(other):
            raise UnreadableImageError(
                f"{option} {wanted} is neither an extension of {file} nor an existing file."
            ) from None
        with open_fits(other) as opened:
            if extension is None and image.name and image.name in [hdu.name for hdu in opened]:
                extension = image.name
            hdu = find_image(opened, other, extension, plane)
            return _read(opened, hdu, wanted, plane)
    if not getattr(hdu, "is_image", False):
        raise UnreadableImageError(f"{option} {wanted}: this extension of {file} is a table, not an image.")
    return _read(hdus, hdu, f"{file}[{wanted}]", plane)


def _beside(hdus: fits.HDUList, image: Any, names: tuple[str, ...]) -> Any | None:
    """Return the HDU of the first matching name: ``ERR``, or ``DET1.RMS`` beside ``DET1.SCI``."""
    prefix = image.name.rpartition(".")[0]
    for name in names:
        full = f"{prefix}.{name}" if prefix else name
        found = [
            hdu for hdu in hdus
            if hdu is not image and getattr(hdu, "is_image", False) and hdu.name == full
            and hdu.shape == image.shape
        ]  # fmt: skip
        same = [hdu for hdu in found if hdu.ver == image.ver]
        if found:
            return (same or found)[0]
    return None


def _read(hdus: fits.HDUList, hdu: Any, name: str, plane: int | None) -> Plane:
    return Plane(pixels(hdu, name, plane), merged_header(hdus[0].header, hdu.header), name, hdu.name)


def _check_shape(plane: Plane, shape: tuple[int, int]) -> None:
    if plane.values.shape != shape:
        height, width = plane.values.shape
        raise UnreadableImageError(
            f"{plane.name} is {width} x {height} pixels, but its image is {shape[1]} x {shape[0]}."
        )


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
    _check_shape(plane, image.shape)
    raw = plane.values
    if raw.dtype.kind == "f":
        raw = np.where(np.isfinite(raw), raw, 1)
        # Fractional masks, of 0 and 0.5 for example: all but 0 is bad.
        raw = np.where((raw != 0) & (np.abs(raw) < 1), 1, raw)
    # The smallest sufficient type: masks of large images are large.
    small = (raw.dtype.kind in "biu" and raw.dtype.itemsize < 4) or (
        raw.dtype.kind == "i" and raw.dtype.itemsize == 4
    )
    values: NDArray[np.signedinteger] = raw.astype(np.int32 if small else np.int64, copy=False)
    if bits is not None and small:
        bits &= 0x7FFFFFFF
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
        bad, saturated = bad & 0x7FFFFFFF, saturated & 0x7FFFFFFF
    out[(values & bad) != 0] |= int(Mask.BAD)
    out[(values & saturated) != 0] |= int(Mask.SAT)
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
    low, sky, high = np.nanpercentile(image[::3, ::3], [15.9, 50, 84.1])
    with np.errstate(invalid="ignore"):
        bright = image > sky + SOURCE_SIGMA * (high - low) / 2
    if np.count_nonzero(bright) < FEWEST_BRIGHT:
        return 0
    marks = 0
    for bit in range(int(np.bitwise_or.reduce(values, axis=None)).bit_length()):
        flagged = (values >> bit) & 1 == 1
        if np.mean(flagged[bright]) > SOURCE_SHARE and np.mean(flagged[~bright]) < 1 - SOURCE_SHARE:
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
    share = float(np.mean(mask != 0))
    if share < MUCH_MASKED:
        return
    bits = [1 << bit for bit in range(31) if np.any(values & (1 << bit))]
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


def variance_names() -> tuple[str, ...]:
    """Return the extension names of planes that describe the noise, in order of preference."""
    return (*VARIANCE_NAMES, *SIGMA_NAMES, *INVERSE_VARIANCE_NAMES, *WEIGHT_NAMES)


def mask_names() -> tuple[str, ...]:
    """Return the extension names of masks."""
    return MASK_NAMES


def variance_of(
    plane: Plane, image: NDArray[np.float32], kind: str | None, gain: float | None, unit: float
) -> NDArray[np.float32]:
    """Return the variance that a plane represents.

    Parameters
    ----------
    plane : `Plane`
        Variance, standard deviation, inverse variance or weight, by its name or by ``kind``.
    image : `~numpy.ndarray` of float32, shape (height, width)
        Its pixels, for the scale of relative weights.
    kind : `str` or `None`
        ``weight`` if requested; otherwise the extension's name decides.
    gain : `float` or `None`
        Electrons per unit, to add the sources' photon noise to a weight, which describes the sky alone.

    unit : `float`
        Unit of ``image``, in the file's unit.

    Returns
    -------
    variance : `~numpy.ndarray` of float32, shape (height, width)
        In the square of ``unit``; 0 where it is unknown.
    """
    _check_shape(plane, image.shape)
    name = plane.kind.rpartition(".")[2]
    power = 2
    if kind is None and name in SIGMA_NAMES:
        power = 1
    elif kind == "weight" or name in (*WEIGHT_NAMES, *INVERSE_VARIANCE_NAMES):
        power = -2
    values = plane.values
    if unit != 1:
        # The square of a small unit is too small for 32 bits.
        values = values.astype(np.float64) / unit**power
    with np.errstate(all="ignore"):
        values = np.ascontiguousarray(values, dtype=np.float32)
        if power == 1:
            values = values * values
        elif power == -2:
            values = np.where(values > 0, 1 / values, 0).astype(np.float32)
            if name not in INVERSE_VARIANCE_NAMES:
                values = _absolute(plane, values, image, gain)
        return np.where(np.isfinite(values) & (values > 0), values, np.float32(0))


def _absolute(
    plane: Plane, variance: NDArray[np.float32], image: NDArray[np.float32], gain: float | None
) -> NDArray[np.float32]:
    """Scale the inverse of relative weights so that the sky's variance is its scatter squared."""
    step = max(min(image.shape) // 500, 1)
    # Eight pixels apart, noise is independent even after resampling.
    differences = (image[::step, 8:] - image[::step, :-8]) / np.sqrt(2 * variance[::step, 8:])
    usable = np.isfinite(differences) & (variance[::step, 8:] > 0) & (variance[::step, :-8] > 0)
    if np.count_nonzero(usable) < 100:
        return variance
    low, high = np.percentile(differences[usable], [15.9, 84.1])
    scale = (float(high - low) / 2) ** 2
    if not np.isfinite(scale) or scale <= 0 or 0.5 < scale < 2:
        return variance
    _LOG.warning(
        "%s: the weights are relative; they are scaled so that the sky's variance is its scatter.", plane.name
    )
    scaled = variance * np.float32(scale)
    if gain is not None:
        sky = np.nanmedian(image[::step, ::step])
        scaled = np.where(scaled > 0, scaled + np.fmax(image - sky, 0) / np.float32(gain), 0)
    return np.asarray(scaled, np.float32)
