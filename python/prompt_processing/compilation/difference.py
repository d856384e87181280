"""Compile the functions of difference imaging before the first visit."""

from __future__ import annotations

import time

import numpy as np
from astropy.table import Table
from astropy.wcs import WCS
from numpy.typing import NDArray

from prompt_processing.images import Exposure, Mask, PhotoCalib, Psf
from prompt_processing.imaging.difference.model_error import add_model_error
from prompt_processing.imaging.difference.subtraction import subtract
from prompt_processing.imaging.measurement.detect_and_measure import detect_and_measure
from prompt_processing.imaging.measurement.dia_filters import filter_dia_sources
from prompt_processing.imaging.measurement.reliability import ReliabilityModel
from prompt_processing.imaging.measurement.streaks import StreakOptions, mask_streaks
from prompt_processing.imaging.templates.warp import warp_template

_SIZE = 400


def compile_difference_imaging() -> float:
    """Warp, subtract, detect and measure once on small simulated images.

    The compiled code is kept in numba's cache: a fresh installation compiles here
    instead of in its first visit.

    Returns
    -------
    seconds
        Wall-clock time of the run.
    """
    start = time.monotonic()
    rng = np.random.default_rng(0)
    grid = np.arange(30.0, _SIZE - 30, 34.0)
    x, y = (axis.ravel() + rng.uniform(-6, 6, grid.size**2) for axis in np.meshgrid(grid, grid))
    flux = 10 ** rng.uniform(3.3, 4.8, x.size)
    patch = _exposure(x, y, flux, 1.6, rng)
    patch.mask[:20, :20] |= int(Mask.NO_DATA)
    # A new source, a vanished one, a dipole, a trail, a saturated star and two new sources side by side.
    trail = np.linspace(0, 16, 50)
    x = np.concatenate([x, [201.0, 300.5, 302.0], 80 + trail, [150.0, 251.0, 259.0]])
    y = np.concatenate([y, [111.0, 200.5, 200.5], 240 + trail, [60.0, 316.0, 316.0]])
    flux = np.concatenate([flux, [3000.0, 9000.0, -9000.0], np.full(50, 300.0), [-2500.0, 4000.0, 4000.0]])
    science = _exposure(x, y, flux, 2.0, rng)
    science.mask[195:205, 95:97] |= int(Mask.SAT)
    science.mask[300, 100:110] |= int(Mask.BAD)
    assert science.wcs is not None
    template = warp_template([patch], science.wcs, science.shape)
    # As coadds are held in memory.
    patch.mask = patch.mask.astype(np.int16)
    warp_template([patch], science.wcs, science.shape)
    stars = Table({"x": x[: grid.size**2], "y": y[: grid.size**2], "snr": flux[: grid.size**2] / 7})
    result = subtract(science, template, stars)
    sources = detect_and_measure(result.difference, science, result.matched)
    kept, _ = filter_dia_sources(sources)
    ReliabilityModel.load().score(kept)
    result.difference.image[44:47] += 30
    mask_streaks(result.difference, StreakOptions(minimum_length=_SIZE // 2))
    # The simulated PSFs match too well for `subtract` to add an error.
    light = science.image
    add_model_error(0.1 * light, np.ones_like(light), science.mask, (light, light), stars, 4.7)
    return time.monotonic() - start


def _exposure(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    flux: NDArray[np.float64],
    sigma: float,
    rng: np.random.Generator,
) -> Exposure:
    """Return an image of Gaussian stars with noise of variance 1."""
    image = rng.normal(0, 1, (_SIZE, _SIZE))
    offsets = np.arange(-12, 13)
    for each in range(len(x)):
        column, row = round(x[each]), round(y[each])
        profile_x = np.exp(-0.5 * ((column + offsets - x[each]) / sigma) ** 2)
        profile_y = np.exp(-0.5 * ((row + offsets - y[each]) / sigma) ** 2)
        stamp = flux[each] / (2 * np.pi * sigma**2) * np.outer(profile_y, profile_x)
        image[row - 12 : row + 13, column - 12 : column + 13] += stamp
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cd = [[-5.6e-5, 0], [0, 5.6e-5]]
    wcs.wcs.crpix = [_SIZE / 2, _SIZE / 2]
    offsets = np.arange(-20, 21)
    profile = np.exp(-0.5 * (offsets / sigma) ** 2)
    psf = np.outer(profile, profile) / profile.sum() ** 2
    return Exposure(
        image.astype(np.float32),
        np.zeros((_SIZE, _SIZE), np.int32),
        np.ones((_SIZE, _SIZE), np.float32),
        wcs,
        Psf(psf[np.newaxis].astype(np.float32)),
        PhotoCalib(1.0),
    )
