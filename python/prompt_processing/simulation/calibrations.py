"""Calibration products with the noise of many combined frames."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from prompt_processing.images import Defects, Exposure, Mask
from prompt_processing.instruments import Camera, Detector

from .sensor import Sensor

N_BIASES = 30
N_DARKS, DARK_SECONDS = 20, 300.0
N_FLATS, FLAT_ELECTRONS = 20, 50_000.0


@dataclass(slots=True, eq=False)
class CalibrationProducts:
    """Calibrations of one detector.

    Attributes
    ----------
    bias
        ADU above the overscan; with the whole level for a camera without one.
    dark
        Electrons per second.
    flats
        Relative to a mean of 1, by physical filter.
    defects : `~prompt_processing.images.Defects`
    """

    bias: Exposure
    dark: Exposure
    flats: dict[str, Exposure]
    defects: Defects


def calibration_products(sensor: Sensor, filters: dict[str, str], seed: int) -> CalibrationProducts:
    """Make a detector's calibrations, with the residual noise of many combined frames.

    Parameters
    ----------
    sensor : `Sensor`
    filters
        Band by physical filter, for the flats.
    seed
        Seed of the noise.
    """
    rng = np.random.default_rng([seed, 30, sensor.detector.id])
    defects = Defects(np.array(list(sensor.defect_boxes()), np.int32).reshape(-1, 4))
    return CalibrationProducts(
        bias=_bias(sensor, defects, rng),
        dark=_dark(sensor, defects, rng),
        flats={name: _flat(sensor, band, defects, rng) for name, band in filters.items()},
        defects=defects,
    )


def measured_camera(camera: Camera, seed: int) -> Camera:
    """Return the camera with measured gains, accurate to about 0.2 per cent."""
    rng = np.random.default_rng([seed, 31])

    def measured(detector: Detector) -> Detector:
        errors = rng.normal(1, 0.002, len(detector.amplifiers))
        return replace(
            detector,
            amplifiers=tuple(
                replace(a, gain=round(float(a.gain * e), 4))
                for a, e in zip(detector.amplifiers, errors, strict=True)
            ),
        )

    return replace(camera, detectors={id_: measured(d) for id_, d in sorted(camera.detectors.items())})


def _bias(sensor: Sensor, defects: Defects, rng: np.random.Generator) -> Exposure:
    bias = Exposure.blank(sensor.shape, metadata={"BUNIT": "adu", "OBSTYPE": "bias"})
    for amplifier in sensor.detector.amplifiers:
        box = amplifier.target_slices
        pattern = sensor.bias_pattern(amplifier)
        flipped = pattern[:: -1 if amplifier.flip_y else 1, :: -1 if amplifier.flip_x else 1]
        sigma = np.float32(amplifier.read_noise / amplifier.gain / np.sqrt(N_BIASES))
        # Without an overscan, only the bias has the zero level.
        level = 0.0 if amplifier.serial_overscan else sensor.bias_level(amplifier)
        bias.image[box] = level + flipped + sigma * rng.standard_normal(flipped.shape, np.float32)
        bias.variance[box] = sigma**2
    defects.apply(bias.mask)
    return bias


def _dark(sensor: Sensor, defects: Defects, rng: np.random.Generator) -> Exposure:
    dark = Exposure.blank(sensor.shape, metadata={"BUNIT": "electron/s", "OBSTYPE": "dark"})
    current = sensor.dark_current()
    for amplifier in sensor.detector.amplifiers:
        box = amplifier.target_slices
        variance = (current[box] * DARK_SECONDS + amplifier.read_noise**2) / (DARK_SECONDS**2 * N_DARKS)
        noise = np.sqrt(variance) * rng.standard_normal(variance.shape, np.float32)
        dark.image[box] = current[box] + noise
        dark.variance[box] = variance
    defects.apply(dark.mask)
    return dark


def _flat(sensor: Sensor, band: str, defects: Defects, rng: np.random.Generator) -> Exposure:
    flat = Exposure.blank(sensor.shape, metadata={"OBSTYPE": "flat"})
    response = sensor.response(band)
    mean = response.mean(dtype=np.float64)
    variance = response / np.float32(FLAT_ELECTRONS * N_FLATS)
    np.sqrt(variance, out=flat.image)
    flat.image *= rng.standard_normal(sensor.shape, np.float32)
    flat.image += response
    flat.image /= np.float32(mean)
    flat.variance[:] = variance / np.float32(mean**2)
    defects.apply(flat.mask)
    flat.mask[flat.image < 0.1] |= int(Mask.BAD)
    return flat
