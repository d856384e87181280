"""The planes beside an image: mask or data quality, variance, weights; in the same file or another."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

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
from .header import merged_header
from .stored_pixels import pixels

_LOG = logging.getLogger(__name__)


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


def check_shape(plane: Plane, shape: tuple[int, int]) -> None:
    """Raise an error if a plane does not have the shape of its image.

    Raises
    ------
    UnreadableImageError
        Raised with both shapes.
    """
    if plane.values.shape != shape:
        height, width = plane.values.shape
        raise UnreadableImageError(
            f"{plane.name} is {width} x {height} pixels, but its image is {shape[1]} x {shape[0]}."
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
    check_shape(plane, image.shape)
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
