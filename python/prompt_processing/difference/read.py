"""Open a FITS image of any camera, with whatever says how noisy and how good its pixels are."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning
from numpy.typing import NDArray
from scipy import ndimage

from ..images import Exposure, Mask
from .errors import UnreadableImageError

IMAGE_NAMES = ("SCI", "IMAGE", "DIFFERENCE")
VARIANCE_NAMES = ("VARIANCE", "VAR")
SIGMA_NAMES = ("ERR", "ERROR", "UNCERT", "SIGMA", "RMS")
WEIGHT_NAMES = ("WEIGHT", "WHT", "IVAR", "INVVAR")
MASK_NAMES = ("MASK", "DQ", "FLAGS", "BPM", "BADPIX")
"""Extension names that cameras and pipelines give to the planes beside an image."""

GAIN_KEYS = ("GAIN", "EGAIN", "CCDGAIN", "GAINEFF", "GAIN1", "GAINA", "DETGAIN")
READ_NOISE_KEYS = ("RDNOISE", "READNOIS", "ENOISE", "RON", "RDNOISE1", "RDNOISEA", "READNOISE")
SATURATION_KEYS = ("SATURATE", "SATLEVEL", "SATUR", "SATURATA", "MAXLIN", "MAXADU", "SATURLVL")
"""Header keywords, most common first."""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What the header does not tell, or tells wrongly.

    Attributes
    ----------
    gain : `float` or `None`
        Electrons per unit of the image.
    read_noise : `float` or `None`
        Electrons.
    saturation : `float` or `None`
        Pixels at or above are saturated, unit of the image.
    mask, variance : `str` or `None`
        Extension of the mask (0 is good) and of the variance; by default those that are
        usually called so.
    """

    gain: float | None = None
    read_noise: float | None = None
    saturation: float | None = None
    mask: str | None = None
    variance: str | None = None


@dataclass(slots=True, eq=False)
class OpenedImage:
    """An image and what its file says of it.

    Attributes
    ----------
    name : `str`
        File and extension.
    exposure : `~prompt_processing.images.Exposure`
        Pixels in the file's unit, sky and all; variance 0 if the file has none. Without data: 0,
        and ``NO_DATA``.
    has_variance : `bool`
        Whether the file has a variance.
    gain, read_noise, saturation : `float` or `None`
        As the header or the options tell.
    header : `~astropy.io.fits.Header`
        Of the image, with the primary one's keywords.
    """

    name: str
    exposure: Exposure
    has_variance: bool
    gain: float | None
    read_noise: float | None
    saturation: float | None
    header: fits.Header


def open_image(path: str | Path, options: ReadOptions | None = None) -> OpenedImage:
    """Open an image.

    Parameters
    ----------
    path : `str` or `~pathlib.Path`
        File, if need be with the extension: ``file.fits[SCI]``, ``file.fits[2]``, ``file.fits[SCI,2]``.
    options : `ReadOptions`, optional
        What the header lacks.

    Raises
    ------
    UnreadableImageError
        Raised if there is no such file, or it is not what it should be.
    """
    options = options or ReadOptions()
    file, extension = split_extension(str(path))
    if not Path(file).exists():
        raise UnreadableImageError(f"{file}: there is no such file.")
    try:
        with fits.open(file, memmap=False) as hdus:
            return _open(hdus, file, extension, options)
    except (OSError, ValueError, TypeError) as error:
        raise UnreadableImageError(f"{file} is not a FITS image that can be read: {error}") from error


def split_extension(path: str) -> tuple[str, str | None]:
    """Split ``file.fits[SCI]`` into file and extension; brackets that are part of a file's name stay."""
    match = re.fullmatch(r"(.+)\[([^\[\]]+)\]", path)
    if match is None or Path(path).exists():
        return path, None
    return match[1], match[2]


def _open(hdus: fits.HDUList, file: str, extension: str | None, options: ReadOptions) -> OpenedImage:
    hdu = _find_image(hdus, file, extension)
    header = hdus[0].header.copy()
    if hdu is not hdus[0]:
        header.update(hdu.header)
    image = _native_floats(hdu.data)
    name = file if hdu.name in ("", "PRIMARY") else f"{file}[{hdu.name}]"
    mask = np.zeros(image.shape, np.int32)
    planes = _find_plane(hdus, hdu, options.mask, MASK_NAMES, file)
    if planes is not None:
        mask |= _mask_planes(planes, image.shape, name)
    variance, has_variance = _variance(hdus, hdu, options, image.shape, file)
    missing = ~np.isfinite(image) | _empty_borders(image)
    if missing.all():
        raise UnreadableImageError(f"{name} has no finite pixel.")
    saturation = _number(options.saturation, header, SATURATION_KEYS)
    if saturation is None:
        saturation = _clipping_level(image)
    if saturation is not None:
        mask[np.greater_equal(image, saturation, where=~missing, out=np.zeros(image.shape, bool))] |= int(
            Mask.SAT
        )
    image[missing] = 0
    mask[missing] |= int(Mask.NO_DATA)
    return OpenedImage(
        name,
        Exposure(image, mask, variance, wcs=_celestial_wcs(header, image.shape)),
        has_variance,
        _number(options.gain, header, GAIN_KEYS),
        _number(options.read_noise, header, READ_NOISE_KEYS),
        saturation,
        header,
    )


def _find_image(hdus: fits.HDUList, file: str, extension: str | None) -> Any:
    """Return the HDU that was asked for, or the only one that can be meant."""
    images = [hdu for hdu in hdus if hdu.is_image and hdu.shape is not None and len(hdu.shape) == 2]
    listed = ", ".join(f"{i} {hdu.name or '-'} {hdu.shape}" for i, hdu in enumerate(hdus))
    if extension is not None:
        wanted = _extension_key(extension)
        try:
            hdu = hdus[wanted]
        except (KeyError, IndexError) as error:
            raise UnreadableImageError(f"{file} has no extension {extension}; it has {listed}.") from error
        if hdu not in images:
            raise UnreadableImageError(f"{file}[{extension}] is no two-dimensional image.")
        return hdu
    planes = {*VARIANCE_NAMES, *SIGMA_NAMES, *WEIGHT_NAMES, *MASK_NAMES, "PSF", "KERNEL"}
    candidates = [hdu for hdu in images if hdu.name not in planes]
    named = [hdu for hdu in candidates if hdu.name in IMAGE_NAMES]
    if len(named) == 1:
        return named[0]
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise UnreadableImageError(f"{file} has no two-dimensional image; it has {listed}.")
    raise UnreadableImageError(
        f"{file} has several images; say which one is meant, as {file}[NAME]. It has {listed}."
    )


def _extension_key(text: str) -> int | str | tuple[str, int]:
    name, _, version = text.partition(",")
    if version:
        return name.strip(), int(version)
    return int(name) if name.strip().isdigit() else name.strip()


def _find_plane(
    hdus: fits.HDUList, image: Any, wanted: str | None, names: tuple[str, ...], file: str
) -> Any | None:
    """Return the HDU of a plane that goes with an image; of several, that of the same EXTVER."""
    if wanted is not None:
        try:
            return hdus[_extension_key(wanted)]
        except (KeyError, IndexError) as error:
            raise UnreadableImageError(f"{file} has no extension {wanted}.") from error
    found = [hdu for hdu in hdus if hdu.is_image and hdu.name in names and hdu.shape == image.shape]
    same = [hdu for hdu in found if hdu.ver == image.ver]
    return next(iter(same or found), None)


def _mask_planes(hdu: Any, shape: tuple[int, int], name: str) -> NDArray[np.int32]:
    """Return a file's mask in our planes: by their names (``MP_...``) if it has any, else all bad."""
    values = np.asarray(hdu.data)
    if values.shape != shape:
        raise UnreadableImageError(f"{name}: the mask is {values.shape}, the image {shape}.")
    values = values.astype(np.int64)
    named = {key[3:]: int(hdu.header[key]) for key in hdu.header if key.startswith("MP_")}
    if not named:
        return np.where(values != 0, np.int32(int(Mask.BAD)), np.int32(0))
    out = np.zeros(shape, np.int32)
    for plane, bit in named.items():
        if plane in Mask.__members__ and plane not in ("DETECTED", "DETECTED_NEGATIVE"):
            out[(values >> bit) & 1 == 1] |= int(Mask[plane])
    return out


def _variance(
    hdus: fits.HDUList, image: Any, options: ReadOptions, shape: tuple[int, int], file: str
) -> tuple[NDArray[np.float32], bool]:
    if options.variance is not None:
        planes = _find_plane(hdus, image, options.variance, (), file)
        kind = planes.name if planes is not None else ""
    else:
        every = (*VARIANCE_NAMES, *SIGMA_NAMES, *WEIGHT_NAMES)
        planes = _find_plane(hdus, image, None, every, file)
        kind = planes.name if planes is not None else ""
    if planes is None:
        return np.zeros(shape, np.float32), False
    values = _native_floats(planes.data)
    if values.shape != shape:
        raise UnreadableImageError(f"{file}: the variance is {values.shape}, the image {shape}.")
    if kind in SIGMA_NAMES:
        values = values * values
    elif kind in WEIGHT_NAMES:
        with np.errstate(divide="ignore"):
            values = np.where(values > 0, 1 / values, 0).astype(np.float32)
    return np.where(np.isfinite(values) & (values > 0), values, np.float32(0)), True


def _native_floats(data: Any) -> NDArray[np.float32]:
    return np.ascontiguousarray(data, dtype=np.float32)


def _empty_borders(image: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return pixels that are exactly 0 among nothing but zeros: what alignment leaves uncovered."""
    zero = image == 0
    if np.count_nonzero(zero) < 9:
        return np.zeros(image.shape, np.bool_)
    inner = ndimage.binary_erosion(zero, np.ones((3, 3), bool), border_value=1)
    return np.asarray(ndimage.binary_dilation(inner, np.ones((3, 3), bool)) & zero)


def _clipping_level(image: NDArray[np.float32]) -> float | None:
    """Return the level at which pixels are cut off, if several share the very highest value."""
    highest = float(np.nanmax(image))
    middle = float(np.nanmedian(image))
    if np.count_nonzero(image == highest) < 3 or highest < middle + 1000:
        return None
    return middle + 0.98 * (highest - middle)


def _number(given: float | None, header: fits.Header, keys: tuple[str, ...]) -> float | None:
    if given is not None:
        return given
    for key in keys:
        try:
            value = float(header[key])
        except (KeyError, TypeError, ValueError):
            continue
        if np.isfinite(value) and value > 0:
            return value
    return None


def _celestial_wcs(header: fits.Header, shape: tuple[int, int]) -> WCS | None:
    """Return a WCS of two axes on the sky, `None` if the header has none."""
    if "CTYPE1" not in header and "CRVAL1" not in header:
        return None
    with warnings.catch_warnings():
        # Headers of small cameras are full of old keywords that astropy mends with a remark.
        warnings.simplefilter("ignore", FITSFixedWarning)
        try:
            wcs = WCS(header, naxis=2)
        except (ValueError, KeyError, TypeError):
            return None
    if not wcs.has_celestial:
        return None
    wcs.pixel_shape = (shape[1], shape[0])
    return wcs
