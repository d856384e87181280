"""Instrument signature removal: from a raw frame to electrons on the detector's pixels."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from prompt_processing.domain.planes import new_plane
from prompt_processing.images import Defects, Exposure, Mask, VisitInfo
from prompt_processing.imaging.errors import TooManyCosmicRaysError, UnusableCalibrationError
from prompt_processing.imaging.row_bands import available_cores, in_bands
from prompt_processing.instruments import Amplifier, Detector
from prompt_processing.instruments.raw_frame import RawFrame, Segment
from prompt_processing.telemetry.handover import in_this_context

from .assembly import SegmentPlace, SegmentScales, reduce_segment
from .brighter_fatter import correct_brighter_fatter
from .cosmic_rays import CosmicRayOptions, find_cosmic_rays
from .deferred_charge import DeferredCharge
from .fringes import subtract_fringes
from .interpolation import interpolate_bad_columns
from .linearity import Linearity
from .overscan import OverscanFit, fit_overscan
from .segment_corrections import Crosstalk, correct_segments

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class FurtherCalibrations:
    """Calibrations that not every camera needs; those that are missing are skipped.

    Attributes
    ----------
    linearity, crosstalk, deferred_charge
        Corrections of the amplifiers, see `.linearity` and `.segment_corrections`.
    fringe : `~numpy.ndarray` of float32, shape (height, width)
        Fringes relative to the sky.
    brighter_fatter : `~numpy.ndarray`, shape (n, n)
        Kernel, see `.brighter_fatter`.
    """

    linearity: Linearity = field(default_factory=dict)
    crosstalk: Crosstalk = field(default_factory=dict)
    deferred_charge: Mapping[str, DeferredCharge] = field(default_factory=dict)
    fringe: NDArray[np.float32] | None = None
    brighter_fatter: NDArray[np.floating] | None = None


@dataclass(frozen=True, slots=True)
class IsrOptions:
    """Steps and thresholds of the signature removal.

    Attributes
    ----------
    saturation_margin : `float`
        Fraction of the amplifier's saturation above which pixels count as
        saturated, because the bias pattern shifts the level slightly.
    saturation_growth : `int`
        Width, pixels, of the margin marked around saturated pixels.
    cosmic_rays : `CosmicRayOptions` or `None`
        Options of the search; `None` skips it.
    interpolate : `bool`
        Whether to fill narrow runs of bad pixels along rows.
    """

    saturation_margin: float = 0.98
    saturation_growth: int = 1
    cosmic_rays: CosmicRayOptions | None = field(default_factory=CosmicRayOptions)
    interpolate: bool = True


def run_isr(
    raw: RawFrame,
    detector: Detector,
    bias: Exposure | None = None,
    dark: Exposure | None = None,
    flat: Exposure | None = None,
    defects: Defects | None = None,
    visit_info: VisitInfo | None = None,
    options: IsrOptions | None = None,
    further: FurtherCalibrations | None = None,
) -> Exposure:
    """Remove the instrument's signature.

    Parameters
    ----------
    raw : `RawFrame`
        The raw frame as read.
    detector : `Detector`
        Detector with each amplifier's gain, read noise and saturation.
    bias, dark, flat : `Exposure`, optional
        Assembled calibration frames; a step is skipped if its frame is
        missing. The bias is in ADU, the dark in electrons per second, unless
        ``BUNIT`` in their metadata says otherwise (``adu``, ``electron``,
        ``adu/s``, ``electron/s``). The flat is relative to 1.
    defects : `Defects`, optional
        Boxes to mark ``BAD``.
    visit_info : `VisitInfo`, optional
        Its exposure time scales the dark where the header has no ``DARKTIME``.
    options : `IsrOptions`, optional
    further : `FurtherCalibrations`, optional
        Calibrations that not every camera needs.

    Returns
    -------
    exposure : `Exposure`
        Electrons, with variance (photons and read noise) and the planes
        ``BAD``, ``SAT``, ``CR``, ``INTRP``, ``NO_DATA``. Metadata: ``BUNIT``,
        measured read noise and gain of each amplifier, counts of marked
        pixels, and for each calibration whether it was applied.

    Raises
    ------
    UnusableCalibrationError
        Raised if a calibration frame's shape differs from the raw's.
    LookupError
        Raised if the detector has no amplifier of a segment's name.

    Notes
    -----
    Saturation is decided on the counts above the overscan, before anything
    else is subtracted. Trimming, flips, bias, dark, gain and flat take one pass
    over the pixels, with segments in parallel and without intermediate frames.
    """
    options, further = options or IsrOptions(), further or FurtherCalibrations()
    shape = raw.shape
    frames: dict[str, NDArray[np.float32] | None] = {}
    for name, frame in (("bias", bias), ("dark", dark), ("flat", flat)):
        _require_shape(name, frame, shape)
        frames[name] = None if frame is None else _native(frame.image)
    image, variance = new_plane(shape, np.float32), new_plane(shape, np.float32)
    mask = new_plane(shape, np.int32)
    mask[...] = 0
    _require_shape("fringe pattern", further.fringe, shape)
    dark_seconds = _dark_seconds(raw.header, visit_info)
    with ThreadPoolExecutor(available_cores()) as pool:
        fits = dict(pool.map(in_this_context(_fit_one_overscan), raw.segments))
    pedestals = {segment.name: _pedestal(segment, bias) for segment in raw.segments}
    segments: Sequence[Segment] = raw.segments
    if further.linearity or further.crosstalk or further.deferred_charge:
        levels = {name: fit.level + np.float32(pedestals[name]) for name, fit in fits.items()}
        amplifiers = [detector.amplifier(segment.name) for segment in segments]
        segments = correct_segments(
            segments,
            levels,
            further.linearity,
            further.crosstalk,
            further.deferred_charge,
            gains={one.name: one.gain for one in amplifiers},
            saturation={
                one.name: options.saturation_margin * one.saturation / one.gain for one in amplifiers
            },
        )

    def reduce_one(segment: Segment) -> tuple[str, float, int, int]:
        amplifier = detector.amplifier(segment.name)
        fit = fits[segment.name]
        read_noise = amplifier.read_noise
        if not math.isnan(fit.read_noise):
            read_noise = fit.read_noise * amplifier.gain
        saturated = reduce_segment(
            _native(segment.data),
            _place(segment),
            fit.level,
            _scales(amplifier, read_noise, bias, dark, dark_seconds, options, pedestals[segment.name]),
            image,
            variance,
            mask,
            **frames,
        )
        return segment.name, read_noise, saturated, fit.n_replaced

    with ThreadPoolExecutor(available_cores()) as pool:
        results = list(pool.map(in_this_context(reduce_one), segments))
    exposure = Exposure(image, mask, variance, visit_info=visit_info, metadata={"BUNIT": "electron"})
    if defects is not None:
        defects.apply(mask)
    n_saturated = sum(result[2] for result in results)
    if options.saturation_growth:
        _grow_saturation(mask, options.saturation_growth)
    if further.brighter_fatter is not None:
        correct_brighter_fatter(image, further.brighter_fatter)
    n_cosmic = 0
    if options.interpolate:
        interpolate_bad_columns(image, variance, mask)
    if options.cosmic_rays is not None:
        try:
            n_cosmic = find_cosmic_rays(exposure, options.cosmic_rays)
        except TooManyCosmicRaysError as error:
            # An unusually noisy frame is still worth calibrating.
            _LOG.warning("No cosmic rays marked: %s", error)
    for name, read_noise, _, _ in results:
        exposure.metadata[f"LSST ISR READNOISE {name}"] = read_noise
        exposure.metadata[f"LSST ISR GAIN {name}"] = detector.amplifier(name).gain
    exposure.metadata["LSST ISR SATURATED PIXELS"] = n_saturated
    exposure.metadata["LSST ISR COSMIC RAY PIXELS"] = n_cosmic
    exposure.metadata["LSST ISR OVERSCAN ROWS REPLACED"] = sum(result[3] for result in results)
    if further.fringe is not None:
        exposure.metadata["LSST ISR FRINGE AMPLITUDE"] = subtract_fringes(exposure, further.fringe)
    applied = {name: pixels is not None for name, pixels in frames.items()} | {
        "defects": defects is not None,
        "linearity": bool(further.linearity),
        "crosstalk": bool(further.crosstalk),
        "deferred charge": bool(further.deferred_charge),
        "fringe": further.fringe is not None,
        "brighter fatter": further.brighter_fatter is not None,
    }
    for name, done in applied.items():
        exposure.metadata[f"LSST ISR {name.upper()} APPLIED"] = done
    return exposure


def _require_shape(name: str, frame: Exposure | NDArray[Any] | None, shape: tuple[int, int]) -> None:
    if frame is not None and frame.shape != shape:
        raise UnusableCalibrationError(
            f"The {name} does not fit the raw", raw=str(shape), calibration=str(frame.shape)
        )


def _native(values: NDArray[Any]) -> NDArray[Any]:
    """Return an array in the machine's byte order, without a copy if it has that order."""
    if values.dtype.isnative:
        return values
    return values.astype(values.dtype.newbyteorder("="))


def _place(segment: Segment) -> SegmentPlace:
    rows, columns = segment.data_section
    return SegmentPlace(
        row=rows.start,
        column=columns.start,
        height=rows.stop - rows.start,
        width=columns.stop - columns.start,
        x0=segment.x0,
        y0=segment.y0,
        flip_x=segment.flip_x,
        flip_y=segment.flip_y,
    )


def _fit_one_overscan(segment: Segment) -> tuple[str, OverscanFit]:
    return segment.name, fit_overscan(np.ascontiguousarray(segment.data[segment.serial_overscan]))


def _pedestal(segment: Segment, bias: Exposure | None) -> float:
    """Return the zero level (ADU) that only the bias holds, for a segment without overscan."""
    if bias is None or segment.data[segment.serial_overscan].shape[1] > 0:
        return 0.0
    unit = str(bias.metadata.get("BUNIT", "adu")).strip().lower()
    return float(np.median(bias.image[segment.target])) if unit.startswith("adu") else 0.0


def _scales(
    amplifier: Amplifier,
    read_noise: float,
    bias: Exposure | None,
    dark: Exposure | None,
    dark_seconds: float,
    options: IsrOptions,
    pedestal: float,
) -> SegmentScales:
    return SegmentScales(
        gain=amplifier.gain,
        read_noise=read_noise,
        saturation=options.saturation_margin * amplifier.saturation / amplifier.gain + pedestal,
        bias=0.0 if bias is None else _per_unit(bias, "adu", amplifier.gain),
        dark=0.0 if dark is None else _per_unit(dark, "electron/s", amplifier.gain) * dark_seconds,
    )


def _per_unit(frame: Exposure, default: str, gain: float) -> float:
    """Return the electrons (per second) in one unit of a calibration frame."""
    unit = str(frame.metadata.get("BUNIT", default)).strip().lower()
    if unit.startswith("adu"):
        return gain
    if unit.startswith("electron"):
        return 1.0
    raise UnusableCalibrationError("The unit of a calibration frame is not known", unit=unit)


def _dark_seconds(header: dict[str, Any], visit_info: VisitInfo | None) -> float:
    for key in ("DARKTIME", "EXPTIME"):
        value = header.get(key)
        if isinstance(value, int | float) and math.isfinite(value) and value >= 0:
            return float(value)
        if key == "DARKTIME" and visit_info is not None:
            return visit_info.exposure_time
    return 0.0


def _grow_saturation(mask: NDArray[np.int32], growth: int) -> None:
    """Mark the square around each saturated pixel, in place."""
    saturated = np.int32(int(Mask.SAT))
    parts: list[NDArray[np.int32]] = []
    in_bands(lambda start, stop: parts.append(_find_saturated(mask, saturated, start, stop)), mask.shape[0])
    # Only after all are found, so that the growth is not grown again.
    for pixels in parts:
        _mark_around(mask, pixels, growth, saturated)


@numba.njit(cache=True, nogil=True)
def _find_saturated(mask: NDArray[np.int32], saturated: int, start: int, stop: int) -> NDArray[np.int32]:
    """Return rows and columns of pixels with a plane; shape (n, 2)."""
    n = 0
    for row in range(start, stop):
        for column in range(mask.shape[1]):
            n += (mask[row, column] & saturated) != 0
    pixels = np.empty((n, 2), np.int32)
    if n == 0:
        return pixels
    n = 0
    for row in range(start, stop):
        for column in range(mask.shape[1]):
            if mask[row, column] & saturated:
                pixels[n, 0], pixels[n, 1] = row, column
                n += 1
    return pixels


@numba.njit(cache=True, nogil=True)
def _mark_around(mask: NDArray[np.int32], pixels: NDArray[np.int32], growth: int, plane: int) -> None:
    height, width = mask.shape
    for k in range(pixels.shape[0]):
        row, column = pixels[k, 0], pixels[k, 1]
        for j in range(max(row - growth, 0), min(row + growth + 1, height)):
            for i in range(max(column - growth, 0), min(column + growth + 1, width)):
                mask[j, i] |= plane
