"""Assemble the segments of a readout into the detector's pixels, in electrons, in one pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from prompt_processing.images import Mask

_BAD = int(Mask.BAD)
_NO_DATA = int(Mask.NO_DATA)
_SATURATED = int(Mask.SAT)

MIN_FLAT = 0.05
"""Response below which a pixel counts as dead."""

_NONE = np.zeros((1, 1), np.float32)


@dataclass(frozen=True, slots=True)
class SegmentPlace:
    """Position of a segment's data section in its readout and on the detector.

    Attributes
    ----------
    row, column : `int`
        First pixel of the data section in the readout.
    height, width : `int`
        Size of the data section.
    x0, y0 : `int`
        Lower-left pixel on the assembled detector.
    flip_x, flip_y : `bool`
        Whether readout columns and rows run against the detector's.
    """

    row: int
    column: int
    height: int
    width: int
    x0: int
    y0: int
    flip_x: bool
    flip_y: bool


@dataclass(frozen=True, slots=True)
class SegmentScales:
    """Numbers that turn a segment's ADU into electrons.

    Attributes
    ----------
    gain : `float`
        Electrons per ADU.
    read_noise : `float`
        Electrons.
    saturation : `float`
        ADU above the overscan.
    bias, dark : `float`
        Factors from the frames' units to electrons in this exposure.
    """

    gain: float
    read_noise: float
    saturation: float
    bias: float = 0.0
    dark: float = 0.0


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _reduce_segment(  # type: ignore[no-untyped-def]
    raw, row0, column0, height, width, x0, y0, flip_x, flip_y, level,
    gain, read_variance, saturation, bias, bias_scale, dark, dark_scale, flat, has_flat,
    image, variance, mask,
):  # fmt: skip
    """Do the work of `reduce_segment` row by row, in loops without branches that the compiler vectorises."""
    saturated = 0
    adu = np.empty(width, np.float32)
    dead, least = np.float32(np.nan), np.float32(MIN_FLAT)
    for i in range(height):
        y = y0 + (height - 1 - i if flip_y else i)
        zero = level[i]
        source = raw[row0 + i, column0 : column0 + width]
        if flip_x:
            for j in range(width):
                adu[width - 1 - j] = np.float32(source[j]) - zero
        else:
            for j in range(width):
                adu[j] = np.float32(source[j]) - zero
        electrons, noise = image[y, x0 : x0 + width], variance[y, x0 : x0 + width]
        planes = mask[y, x0 : x0 + width]
        for j in range(width):
            is_saturated = adu[j] >= saturation
            planes[j] |= _SATURATED if is_saturated else 0
            saturated += is_saturated
        for j in range(width):
            electrons[j] = adu[j] * gain
        if bias_scale != 0:
            frame = bias[y, x0 : x0 + width]
            for j in range(width):
                electrons[j] -= bias_scale * frame[j]
        if dark_scale != 0:
            frame = dark[y, x0 : x0 + width]
            for j in range(width):
                electrons[j] -= dark_scale * frame[j]
        for j in range(width):
            noise[j] = max(electrons[j], np.float32(0)) + read_variance
        if has_flat:
            frame = flat[y, x0 : x0 + width]
            for j in range(width):
                response = frame[j]
                inverse = np.float32(1) / response
                electrons[j] = electrons[j] * inverse if response > least else dead
                noise[j] = noise[j] * (inverse * inverse) if response > least else noise[j]
        is_finite = True
        for j in range(width):
            is_finite &= abs(electrons[j]) < np.float32(np.inf)
        if not is_finite:
            for j in range(width):
                if not np.isfinite(electrons[j]):
                    electrons[j] = np.float32(0)
                    planes[j] |= _BAD | _NO_DATA
    return saturated


def reduce_segment(
    raw: NDArray[np.integer],
    place: SegmentPlace,
    level: NDArray[np.float32],
    scales: SegmentScales,
    image: NDArray[np.float32],
    variance: NDArray[np.float32],
    mask: NDArray[np.int32],
    bias: NDArray[np.float32] | None = None,
    dark: NDArray[np.float32] | None = None,
    flat: NDArray[np.float32] | None = None,
) -> int:
    """Trim, flip, place and calibrate one segment.

    Parameters
    ----------
    raw : `~numpy.ndarray`, shape of the readout with its overscan
        ADU.
    place, scales
        Geometry and factors of the segment.
    level : `~numpy.ndarray`, shape (place.height,)
        Zero level of each row of the data section, ADU.
    image, variance, mask : `~numpy.ndarray`, shape of the detector
        Arrays to update: electrons, electrons squared, and `Mask` bits added.
    bias, dark, flat : `~numpy.ndarray`, shape of the detector, optional
        Calibration frames; missing ones are skipped. Dead or non-finite pixels become 0 with
        ``BAD`` and ``NO_DATA``.

    Returns
    -------
    n_saturated : `int`
        Number of pixels at or above the saturation level, which are marked ``SAT``.
        The test precedes all subtractions except the overscan's.

    Raises
    ------
    ValueError
        Raised if the data section is not within the readout, or its place is off the detector.
    """
    _check_place(raw, place, level, image, variance, mask, *(f for f in (bias, dark, flat) if f is not None))
    return int(
        _reduce_segment(
            raw, place.row, place.column, place.height, place.width, place.x0, place.y0,
            place.flip_x, place.flip_y, level,
            np.float32(scales.gain), np.float32(scales.read_noise**2), np.float32(scales.saturation),
            _NONE if bias is None else bias, np.float32(0 if bias is None else scales.bias),
            _NONE if dark is None else dark, np.float32(0 if dark is None else scales.dark),
            _NONE if flat is None else flat, flat is not None,
            image, variance, mask,
        )
    )  # fmt: skip


def _check_place(
    raw: NDArray[np.integer], place: SegmentPlace, level: NDArray[np.float32], *planes: NDArray[Any]
) -> None:
    """Refuse a segment that does not fit: compiled loops trust its bounds."""
    spans = [(place.row, place.height, raw.shape[0]), (place.column, place.width, raw.shape[1])]
    for plane in planes:
        spans += [(place.y0, place.height, plane.shape[0]), (place.x0, place.width, plane.shape[1])]
    if len(level) < place.height or any(start < 0 or start + length > end for start, length, end in spans):
        raise ValueError(
            f"{place} does not fit a readout of {raw.shape} with {len(level)} levels and planes of "
            f"{[plane.shape for plane in planes]}."
        )
