"""Compile the functions of signature removal and calibration before the first visit."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from prompt_processing.images import Exposure
from prompt_processing.images.layout.stored_tiles import compile_readers
from prompt_processing.images.layout.tiles import compress_floats, compress_integers
from prompt_processing.imaging.calibration.calibrate import calibrate_image
from prompt_processing.imaging.isr.deferred_charge import (
    DeferredCharge,
    SerialTrap,
    restore_deferred_charge,
)
from prompt_processing.imaging.isr.isr import run_isr
from prompt_processing.instruments import Detector, RawFrame, Segment, detector_wcs, load_camera
from prompt_processing.instruments.rice import decode_rows

_SKY = 500.0
_LEVEL = 1000


def compile_calibration() -> float:
    """Run reading, signature removal and calibration once on a small simulated image.

    The compiled code is kept in numba's cache: a fresh installation spends the
    half minute of compilation here instead of in its first visit.

    Returns
    -------
    seconds
        Wall-clock time of the run.
    """
    start = time.monotonic()
    compress_floats(np.ones((2, 32), np.float32), 0.1, 1)
    compress_integers(np.zeros((2, 32), np.int32))
    compile_readers()
    decode_rows(np.zeros(0, np.uint8), np.zeros((0, 2), np.int64), np.zeros((0, 0), np.int32))
    trap = SerialTrap(1.0, 1.0, "linear", np.zeros(1))
    restore_deferred_charge(np.zeros((2, 4), np.float32), DeferredCharge(1e-6, trap=trap))
    camera = load_camera("LSSTCam").miniature(64, 256)
    detector = camera.detector(94)
    light, x, y, flux = _star_field((detector.height, detector.width))
    wcs = detector_wcs(camera, detector, 0.0, 0.0, 0.0)
    flat = Exposure.blank(light.shape)
    flat.image[:] = 1.0
    nothing = Exposure.blank(light.shape)
    # HSC's segments are views of one image of short integers: their types need separate compiled code.
    raws = [_read_out(light, detector, np.int32), _read_out(light, detector, np.uint16)]
    snaps = [run_isr(raw, detector, nothing, nothing, flat) for raw in raws]
    for snap in snaps:
        snap.wcs = wcs
    ra, dec = wcs.all_pix2world(x, y, 0)
    reference = Table(
        {"id": np.arange(len(x)), "ra": ra, "dec": dec, "r_flux": flux, "r_fluxErr": flux / 100}
    )
    calibrate_image(snaps, reference, "r")
    return time.monotonic() - start


def _star_field(
    shape: tuple[int, int],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return electrons of sky and stars, and the stars' positions and fluxes."""
    rng = np.random.default_rng(0)
    grid = np.arange(30, min(shape) - 30, 50.0)
    x, y = (axis.ravel() + rng.uniform(-8, 8, grid.size**2) for axis in np.meshgrid(grid, grid))
    flux = rng.uniform(2e4, 2e5, x.size)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    light = np.full(shape, _SKY)
    for each in range(x.size):
        distance = (columns - x[each]) ** 2 + (rows - y[each]) ** 2
        light += flux[each] / (2 * np.pi * 3.0) * np.exp(-distance / (2 * 3.0))
    # Cosmic ray hits, for the code that grows them.
    light[100:104, 100] += 3000.0
    light[200, 200:204] += 3000.0
    return light + rng.normal(0, np.sqrt(light)), x, y, flux


def _read_out(light: NDArray[np.float64], detector: Detector, dtype: type[np.generic]) -> RawFrame:
    segments: list[Segment] = []
    rng = np.random.default_rng(1)
    for amplifier in detector.amplifiers:
        counts = _LEVEL + rng.normal(0, 5, amplifier.raw_shape)
        part = light[amplifier.target_slices] / amplifier.gain
        counts[amplifier.data_slices] += part[
            :: -1 if amplifier.flip_y else 1, :: -1 if amplifier.flip_x else 1
        ]
        data: NDArray[Any] = np.clip(counts, 0, 60_000).astype(dtype)
        if dtype is np.uint16:
            data = np.repeat(data, 2, axis=1)[:, ::2]
        rows, columns = amplifier.data_slices
        overscan = (rows, slice(columns.stop, counts.shape[1]))
        segments.append(
            Segment(
                amplifier.name, data, (rows, columns), overscan, (slice(rows.stop, None), columns),
                amplifier.flip_x, amplifier.flip_y, amplifier.x0, amplifier.y0,
            )
        )  # fmt: skip
    return RawFrame({"EXPTIME": 30.0}, "LSSTCam", detector.id, tuple(segments))
