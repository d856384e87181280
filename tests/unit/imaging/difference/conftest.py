"""Small images with Gaussian stars, and one simulated pair, for tests of difference imaging."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from astropy.table import Table
from astropy.wcs import WCS
from numpy.typing import NDArray

from prompt_processing.images import Exposure, PhotoCalib, Psf, VisitInfo
from prompt_processing.imaging.difference.subtraction import Subtraction, subtract
from prompt_processing.simulation.pair import SimulatedPair, simulate_pair


def gaussian(sigma: float, size: int = 31, dx: float = 0.0, dy: float = 0.0) -> NDArray[np.float64]:
    rows, columns = np.mgrid[-(size // 2) : size // 2 + 1, -(size // 2) : size // 2 + 1]
    return np.exp(-0.5 * ((columns - dx) ** 2 + (rows - dy) ** 2) / sigma**2) / (2 * np.pi * sigma**2)


def tan_wcs(shape: tuple[int, int], rotation: float = 0.0, pixel_arcsec: float = 0.2) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [30.0, -20.0]
    wcs.wcs.crpix = [(shape[1] + 1) / 2, (shape[0] + 1) / 2]
    cosine, sine = np.cos(np.radians(rotation)), np.sin(np.radians(rotation))
    scale = pixel_arcsec / 3600
    wcs.wcs.cd = [[-scale * cosine, scale * sine], [scale * sine, scale * cosine]]
    return wcs


@pytest.fixture
def star_image() -> Callable[..., Exposure]:
    """Return a maker of images with Gaussian stars and white noise of variance 1."""

    def make(
        shape: tuple[int, int],
        stars: list[tuple[float, float, float]],
        sigma: float = 1.7,
        noise: float = 1.0,
        seed: int = 1,
        rotation: float = 0.0,
    ) -> Exposure:
        rng = np.random.default_rng(seed)
        image = rng.normal(0, noise, shape) if noise else np.zeros(shape)
        rows, columns = np.mgrid[: shape[0], : shape[1]]
        for x, y, flux in stars:
            part = np.s_[max(int(y) - 25, 0) : int(y) + 26, max(int(x) - 25, 0) : int(x) + 26]
            distance = (columns[part] - x) ** 2 + (rows[part] - y) ** 2
            image[part] += flux * np.exp(-0.5 * distance / sigma**2) / (2 * np.pi * sigma**2)
        return Exposure(
            image.astype(np.float32),
            np.zeros(shape, np.int32),
            np.full(shape, max(noise, 1e-3) ** 2, np.float32),
            tan_wcs(shape, rotation),
            Psf(gaussian(sigma)[np.newaxis].astype(np.float32)),
            PhotoCalib(1.0),
            VisitInfo("LSSTCam", 2026010100007, 94, "r_57", "r", 61041.1, 30.0, 30.0, -20.0, 0.0),
        )

    return make


@dataclass(frozen=True)
class SubtractedPair:
    pair: SimulatedPair
    stars: Table
    result: Subtraction


@pytest.fixture(scope="session")
def subtracted() -> Callable[[float, float], SubtractedPair]:
    """Return a maker of simulated and subtracted pairs, each seeing made once."""
    done: dict[tuple[float, float], SubtractedPair] = {}

    def make(science_seeing: float, template_seeing: float) -> SubtractedPair:
        key = (science_seeing, template_seeing)
        if key not in done:
            pair = simulate_pair(11, (900, 900), science_seeing, template_seeing, density=2.0, transients=6.0)
            truth = pair.truth[(pair.truth["kind"] == "star") & (pair.truth["flux"] > 3000)]
            stars = Table({"x": truth["x"], "y": truth["y"], "snr": truth["flux"] / 100})
            done[key] = SubtractedPair(pair, stars, subtract(pair.science, pair.template, stars))
        return done[key]

    return make
