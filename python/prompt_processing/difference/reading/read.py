"""Open a FITS image of any camera, with its variance and mask where the file has them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray
from scipy import ndimage

from prompt_processing.imaging.percentiles import percentiles

from ...images import Exposure, Mask
from ..errors import UnreadableImageError, UnusableOptionError
from .bad_pixels import SkyStatistics, sky_statistics, undeclared_bad
from .files import find_image, long_axes, open_fits, split_extension
from .header import (
    READ_NOISE_KEYS,
    SATURATION_KEYS,
    data_section,
    gain,
    linear_pixels,
    merged_header,
    number,
    positive,
)
from .mask_bits import mask_planes
from .planes import Plane, find_plane, mask_names, variance_names, variance_of
from .stored_pixels import pixels
from .wcs import SkyCoordinates, flat_header, read_sky

__all__ = ["OpenedImage", "ReadOptions", "open_image", "split_extension"]

_LOG = logging.getLogger(__name__)

MOST_SATURATED = 0.1
"""Share of an image's pixels; a saturation level that more pixels reach is wrong."""

SMALLEST = 1e-36
"""Range of pixel values that 32-bit numbers hold with full precision."""

USUAL_SCATTER = (1.0, 1000.0)
"""Usual scatter of a sky in counts; images outside this range are scaled by a power of two."""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Values that a header lacks or gets wrong.

    Attributes
    ----------
    gain : `float` or `None`
        Electrons per unit of the image.
    read_noise : `float` or `None`
        Electrons.
    saturation : `float` or `None`
        Pixels at or above are saturated, unit of the image.
    mask, variance, weight : `str` or `None`
        Extension of the mask (0 is good), of the variance, and of the weight (inverse variance, may be
        relative), or another FITS file that holds it; by default the extensions usually named so.
        A variance from an extension named ``ERR``, ``RMS`` and the like is a standard deviation.
    mask_bits : `int` or `None`
        Bits of the mask that make a pixel bad; 0 ignores the mask. The default is the bad bits of
        a known telescope, and all bits of others.
    plane : `int` or `None`
        Plane of a cube to read, from 1.
    prefix : `str`
        Start of the names of the command's options in messages: ``template-`` for the template's.
    """

    gain: float | None = None
    read_noise: float | None = None
    saturation: float | None = None
    mask: str | None = None
    variance: str | None = None
    weight: str | None = None
    mask_bits: int | None = None
    plane: int | None = None
    prefix: str = ""

    def __post_init__(self) -> None:
        for name, value in (("gain", self.gain), ("saturation", self.saturation)):
            if value is not None and not (np.isfinite(value) and value > 0):
                raise UnusableOptionError(
                    f"--{self.prefix}{name} {value:g} is out of range: it is a number above 0."
                )
        if self.read_noise is not None and not (np.isfinite(self.read_noise) and self.read_noise >= 0):
            raise UnusableOptionError(f"read_noise {self.read_noise:g} is out of range: it is not negative.")
        if self.mask_bits is not None and self.mask_bits < 0:
            raise UnusableOptionError(f"--mask-bits {self.mask_bits} is out of range: bits are not negative.")
        if self.plane is not None and self.plane < 1:
            raise UnusableOptionError(f"--plane {self.plane} is out of range: planes are counted from 1.")
        if self.variance is not None and self.weight is not None:
            raise UnusableOptionError(
                f"--{self.prefix}variance and --{self.prefix}weight exclude each other."
            )


@dataclass(slots=True, eq=False)
class OpenedImage:
    """An image with the metadata of its file.

    Attributes
    ----------
    name : `str`
        File and extension.
    exposure : `~prompt_processing.images.Exposure`
        Pixels including the sky, in `unit`; variance 0 if the file has none. Pixels without data are 0 and
        ``NO_DATA``.
    has_variance : `bool`
        Whether the file has a variance.
    gain, read_noise, saturation : `float` or `None`
        From the header or the options; gain in electrons per `unit`, saturation in `unit`.
    header : `~astropy.io.fits.Header`
        Header of the image, merged with the primary one; its WCS has two axes.
    variance_name : `str`
        File and extension of the variance, for messages.
    unit : `float`
        Value of one unit of the pixels in the file's unit: 1, or a power of two where the sky's
        scatter is far from the usual range.
    """

    name: str
    exposure: Exposure
    has_variance: bool
    gain: float | None
    read_noise: float | None
    saturation: float | None
    header: fits.Header
    unit: float = 1.0
    variance_name: str = ""

    @property
    def on_sky(self) -> bool:
        """Whether the file has a usable WCS."""
        return self.exposure.wcs is not None


@dataclass(frozen=True, slots=True, eq=False)
class _Contents:
    """Contents read while the file is open."""

    name: str
    image: NDArray[np.float32]
    header: fits.Header
    mask: Plane | None
    variance: Plane | None
    sky: SkyCoordinates


def open_image(path: str | Path, options: ReadOptions | None = None, shown: str | None = None) -> OpenedImage:
    """Open an image.

    Parameters
    ----------
    path : `str` or `~pathlib.Path`
        File, optionally with the extension: ``file.fits[SCI]``, ``file.fits[2]``, ``file.fits[SCI,2]``.
        Compressed files (``.gz``, ``.fz``, ``.bz2``) are recognised by their contents.
    options : `ReadOptions`, optional
        Values that the header lacks.
    shown : `str`, optional
        Name of the file in messages, where it is a copy of another.

    Raises
    ------
    UnreadableImageError
        Raised if the file is missing, or is not a usable FITS image.
    """
    options = options or ReadOptions()
    file, extension = split_extension(str(path))
    with open_fits(file, shown) as hdus:
        contents = _read(hdus, shown or file, extension, options)
    return _assemble(contents, options)


def _read(hdus: fits.HDUList, file: str, extension: str | None, options: ReadOptions) -> _Contents:
    hdu = find_image(hdus, file, extension, options.plane)
    name = file if hdu.name in ("", "PRIMARY", "COMPRESSED_IMAGE") else f"{file}[{hdu.name}]"
    header = merged_header(hdus[0].header, hdu.header)
    with np.errstate(over="ignore"):
        image = np.array(pixels(hdu, name, options.plane), dtype=np.float32, order="C")
    del hdu.data
    _check_range(image, name)
    image = linear_pixels(image, hdu.header if "BSOFTEN" in hdu.header else hdus[0].header)
    which = f"--{options.prefix}{'weight' if options.weight else 'variance'}"
    variance = find_plane(
        hdus, hdu, file, options.weight or options.variance, variance_names(), which, options.plane
    )
    mask = None
    if options.mask_bits != 0:
        mask = find_plane(
            hdus, hdu, file, options.mask, mask_names(), f"--{options.prefix}mask", options.plane
        )
    axes = long_axes(hdu)
    kept = (axes[0], axes[1]) if len(axes) >= 2 else (1, 2)
    shape = (image.shape[0], image.shape[1])
    sky = read_sky(header, shape, kept, hdus)
    return _Contents(name, image, flat_header(header, kept, sky), mask, variance, sky)


def _check_range(image: NDArray[np.float32], name: str) -> None:
    """Refuse pixels that 32 bits cannot hold."""
    sample = np.abs(image[:: max(image.shape[0] // 50, 1)])
    known = sample[~np.isnan(sample)]
    middle = percentiles(known, (50,))[0] if known.size else 1.0
    if (0 < middle < SMALLEST) or (np.isinf(middle) and np.isinf(sample).mean() > 0.9):
        raise UnreadableImageError(
            f"{name}: its pixels are too {'small' if middle < 1 else 'large'} for 32-bit numbers; "
            "write it in another unit."
        )


def _assemble(contents: _Contents, options: ReadOptions) -> OpenedImage:
    """Combine a file's contents into an image with its bad pixels marked."""
    name, image, header = contents.name, contents.image, contents.header
    shape = (image.shape[0], image.shape[1])
    if contents.sky.problem is not None:
        _LOG.warning(
            "%s: its WCS is not used, %s. The catalogue has no sky coordinates, and the other image must be "
            "on the same pixels, or be aligned by its stars.",
            name,
            contents.sky.problem,
        )
    if contents.sky.guess is not None:
        _LOG.warning("%s: %s.", name, contents.sky.guess)
    mask = np.zeros(shape, np.int32)
    if contents.mask is not None:
        mask = mask_planes(contents.mask, image, header, options.mask_bits)
    electrons = options.gain if options.gain is not None else gain(header, name)
    missing = ~np.isfinite(image) | _outside_data(header, shape, name)
    image[missing] = np.nan
    statistics = sky_statistics(image)
    _check_linear(header, name)
    missing |= undeclared_bad(image, statistics) | _empty_borders(image)
    if missing.all():
        raise UnreadableImageError(f"{name} has no usable pixel: all are NaN, infinite, or one fill value.")
    saturation = _saturation(image, missing, statistics, header, options, name)
    if saturation is not None:
        mask[(image >= saturation) & ~missing] |= int(Mask.SAT)
    unit = _unit(statistics)
    if unit != 1:
        image *= np.float32(1 / unit)
    electrons = None if electrons is None else electrons * unit
    image[missing] = np.nan
    variance = np.zeros(shape, np.float32)
    if contents.variance is not None:
        kind = "weight" if options.weight else None
        variance = variance_of(contents.variance, image, kind, electrons, unit)
    has_variance = contents.variance is not None and bool(np.any(variance > 0, where=~missing))
    if contents.variance is not None and not has_variance:
        _LOG.warning("%s has no positive value and is not used.", contents.variance.name)
    image[missing] = 0
    mask[missing] |= int(Mask.NO_DATA)
    read_noise = options.read_noise
    if read_noise is None and (found := positive(header, READ_NOISE_KEYS)) is not None:
        read_noise = found[1]
    return OpenedImage(
        name,
        Exposure(image, mask, variance, wcs=contents.sky.wcs),
        has_variance,
        electrons,
        read_noise,
        None if saturation is None else saturation / unit,
        header,
        unit,
        "" if contents.variance is None else contents.variance.name,
    )


def _check_linear(header: fits.Header, name: str) -> None:
    """Refuse magnitudes, which cannot be subtracted.

    Raises
    ------
    UnreadableImageError
        Raised with the unit.
    """
    unit = str(header.get("BUNIT", "")).strip()
    if unit.lower().startswith("mag"):
        raise UnreadableImageError(
            f"{name}: its pixels are magnitudes (BUNIT = {unit!r}); write them as fluxes, which add up."
        )


def _outside_data(header: fits.Header, shape: tuple[int, int], name: str) -> NDArray[np.bool_]:
    """Return the pixels of an overscan."""
    section = data_section(header, shape)
    outside = np.zeros(shape, np.bool_)
    if section is not None:
        outside[:] = True
        outside[section] = False
        _LOG.warning("%s: only DATASEC is used, the overscan (BIASSEC) is left out.", name)
    return outside


def _empty_borders(image: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return pixels that are exactly 0 and surrounded by zeros, as alignment leaves uncovered areas."""
    zero = image == 0
    if np.count_nonzero(zero) < 9:
        return np.zeros(image.shape, np.bool_)
    inner = ndimage.binary_erosion(zero, np.ones((3, 3), bool), border_value=1)
    return np.asarray(ndimage.binary_dilation(inner, np.ones((3, 3), bool)) & zero)


def _saturation(
    image: NDArray[np.float32],
    missing: NDArray[np.bool_],
    sky: SkyStatistics,
    header: fits.Header,
    options: ReadOptions,
    name: str,
) -> float | None:
    """Return the level of saturation: from options, header, or the value at which stars are clipped."""
    usable = max(image.size - int(np.count_nonzero(missing)), 1)

    def share(level: float) -> float:
        return int(np.count_nonzero((image >= level) & ~missing)) / usable

    if options.saturation is not None:
        if share(options.saturation) > MOST_SATURATED:
            raise UnusableOptionError(
                f"--{options.prefix}saturation {options.saturation:g}: {share(options.saturation):.0%} of "
                f"the pixels of {name} are above, whose sky is at {sky.level:.4g}."
            )
        return options.saturation
    for keyword in SATURATION_KEYS:
        level: Any = number(header.get(keyword))
        if level is None or level <= 0:
            continue
        if share(level) <= MOST_SATURATED:
            return float(level)
        _LOG.warning(
            "%s: %s = %g is not used: %.0f%% of the pixels are above. Set the level with --saturation.",
            name,
            keyword,
            level,
            100 * share(level),
        )
        break
    return _clipping_level(image, missing, sky)


def _clipping_level(
    image: NDArray[np.float32], missing: NDArray[np.bool_], sky: SkyStatistics
) -> float | None:
    """Return the level at which pixels are clipped, if several share the highest value."""
    highest = float(np.max(image, where=~missing, initial=-np.inf))
    tops = np.count_nonzero((image == highest) & ~missing)
    if tops < 3 or not sky.scatter > 0 or highest < sky.level + 50 * sky.scatter:
        return None
    return sky.level + 0.98 * (highest - sky.level)


def _unit(sky: SkyStatistics) -> float:
    """Return the power of two that brings the sky's scatter into the usual range."""
    low, high = USUAL_SCATTER
    if not sky.scatter > 0 or low <= sky.scatter <= high:
        return 1.0
    return float(2.0 ** round(np.log2(sky.scatter / 16)))
