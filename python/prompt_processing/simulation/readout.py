"""Convert the light on a detector to the counts of its amplifiers."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from prompt_processing.instruments import Amplifier
from prompt_processing.instruments.raw_frame import Segment

from .rendering import add_blobs
from .sensor import Sensor

COSMIC_RAYS_PER_PIXEL_SECOND = 40 / (16.3e6 * 30)
"""About 40 per LSSTCam detector in 30 s."""


def expose_sensor(
    light: NDArray[np.float32], sensor: Sensor, band: str, exposure_time: float, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
    """Collect charge, with response, dark current, noise, cosmic rays and full wells.

    Parameters
    ----------
    light : `~numpy.ndarray` of float32, shape (height, width)
        Expected electrons of a perfect detector, including the sky. Overwritten.
    sensor : `Sensor`
    band : `str`
    exposure_time
        Seconds.
    rng : `~numpy.random.Generator`

    Returns
    -------
    electrons : `~numpy.ndarray` of float32, shape (height, width)
        Electrons with photon and read noise.
    saturated, struck : `~numpy.ndarray` of bool, shape (height, width)
        Pixels at full well, including bleed trails; pixels hit by cosmic rays.
    """
    light *= sensor.response(band)
    light += sensor.dark_current() * np.float32(exposure_time)
    # One draw covers photon and read noise, both Gaussian at these counts.
    read_noise = np.empty((1, 1), np.float32)
    noise = rng.standard_normal(light.shape, np.float32)
    for amplifier in sensor.detector.amplifiers:
        box = amplifier.target_slices
        read_noise[:] = amplifier.read_noise**2
        noise[box] *= np.sqrt(np.maximum(light[box], 0) + read_noise)
    light += noise
    hits = np.zeros(light.shape, np.float32)
    add_cosmic_rays(hits, exposure_time, rng)
    light += hits
    saturated = np.zeros(light.shape, np.bool_)
    for amplifier in sensor.detector.amplifiers:
        box = amplifier.target_slices
        # The nominal saturation is conservative: wells are slightly deeper.
        _bleed(light[box], saturated[box], np.float32(1.03 * amplifier.saturation))
    return light, saturated, hits > 30


def add_cosmic_rays(image: NDArray[np.float32], exposure_time: float, rng: np.random.Generator) -> int:
    """Add the tracks of cosmic rays (electrons) in place; return their number."""
    height, width = image.shape
    count = int(rng.poisson(COSMIC_RAYS_PER_PIXEL_SECOND * height * width * exposure_time))
    for _ in range(count):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        angle = rng.uniform(0, 2 * np.pi)
        worm = rng.random() < 0.25
        length = rng.exponential(12 if worm else 8) + 0.5
        n = max(int(length / 0.4), 1)
        # Muons run straight; electrons from Compton scattering curl up.
        angles = angle + (np.cumsum(rng.normal(0, 0.25, n)) if worm else np.zeros(n))
        # 80 electrons per micrometre, more for steep tracks; clumps from delta rays.
        charge = rng.gamma(2.0, 0.5, n) * rng.lognormal(np.log(350), 0.6)
        add_blobs(
            image, x + 0.4 * np.cumsum(np.cos(angles)), y + 0.4 * np.cumsum(np.sin(angles)), charge, 0.14
        )
    return count


def read_segments(
    electrons: NDArray[np.float32], sensor: Sensor, rng: np.random.Generator
) -> tuple[Segment, ...]:
    """Digitize a detector.

    Parameters
    ----------
    electrons : `~numpy.ndarray` of float32, shape (height, width)
        Assembled image, including read noise.
    sensor : `Sensor`
    rng
        Generator of the overscans' noise.

    Returns
    -------
    segments
        In the order of the file, of the type that the instrument's files have.
    """
    return tuple(
        _read_segment(electrons[amplifier.target_slices], sensor, amplifier, rng)
        for amplifier in sensor.detector.amplifiers
    )


def _read_segment(
    electrons: NDArray[np.float32], sensor: Sensor, amplifier: Amplifier, rng: np.random.Generator
) -> Segment:
    height, width = amplifier.raw_shape
    rows, columns = amplifier.data_slices
    counts = rng.standard_normal((height, width), np.float32)
    counts *= np.float32(amplifier.read_noise / amplifier.gain)
    # The level of data and overscan drifts from row to row.
    drift = np.cumsum(rng.normal(0, 0.02, height)) + rng.normal(0, 0.15, height)
    level = sensor.bias_level(amplifier) + rng.normal(0, 1.5) + drift
    data = electrons[:: -1 if amplifier.flip_y else 1, :: -1 if amplifier.flip_x else 1]
    signal = data / np.float32(amplifier.gain)
    counts[rows, columns] = signal + sensor.bias_pattern(amplifier)
    # Deferred charge appears in the first overscan pixels.
    for after, share in enumerate((3e-4, 1e-4)):
        if columns.stop + after < width:
            counts[rows, columns.stop + after] += share * signal[:, -1]
        if rows.stop + after < height:
            counts[rows.stop + after, columns] += share * signal[-1]
    counts += level.astype(np.float32)[:, np.newaxis]
    np.rint(counts, out=counts)
    np.clip(counts, 0, sensor.readout.largest_value, out=counts)
    return Segment(
        name=amplifier.name,
        data=counts.astype(sensor.readout.pixel_type),
        data_section=(rows, columns),
        serial_overscan=(rows, slice(columns.stop, width)),
        parallel_overscan=(slice(rows.stop, height), columns),
        flip_x=amplifier.flip_x,
        flip_y=amplifier.flip_y,
        x0=amplifier.x0,
        y0=amplifier.y0,
    )


@numba.njit(cache=True, nogil=True)
def _bleed(electrons, saturated, full_well):  # type: ignore[no-untyped-def]
    """Spread charge above the full well up and down its column, in place, to the segment's ends."""
    height, width = electrons.shape
    for column in range(width):
        row = 0
        while row < height:
            if electrons[row, column] <= full_well:
                row += 1
                continue
            first = row
            excess = 0.0
            while row < height and electrons[row, column] > full_well:
                excess += electrons[row, column] - full_well
                electrons[row, column] = full_well
                saturated[row, column] = True
                row += 1
            up, down = row, first - 1
            above = below = 0.5 * excess
            while (above > 0.0 and up < height) or (below > 0.0 and down >= 0):
                if above > 0.0 and up < height:
                    room = full_well - electrons[up, column]
                    if room < above:
                        # A pixel already above full well adds its excess.
                        above -= room
                        electrons[up, column] = full_well
                        saturated[up, column] = True
                        up += 1
                    else:
                        electrons[up, column] += above
                        above = 0.0
                if below > 0.0 and down >= 0:
                    room = full_well - electrons[down, column]
                    if room < below:
                        below -= room
                        electrons[down, column] = full_well
                        saturated[down, column] = True
                        down -= 1
                    else:
                        electrons[down, column] += below
                        below = 0.0
            row = max(row, up)
