"""Inject sources into real images: copies of their own stars, so that no PSF model flatters the result."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from prompt_processing.images import UNUSABLE, Exposure

from .ready_pair import ReadyPair, copied

FAINTEST_SNR, BRIGHTEST_SNR = 4.5, 400.0
DONOR_SNR = 60.0
RADIUS_FWHM = 2.5
"""Radius of the copied stamps; their outer third is tapered."""
ALONE_FWHM = 5.0
SHARE_OF_VARIABLES = 0.4
MOST_PER_MEGAPIXEL = 120


@dataclass(frozen=True, slots=True, eq=False)
class Injected:
    """Images with injected sources.

    Attributes
    ----------
    science, template : `Exposure`
        Copies; the template is on the science image's pixels.
    x, y : `~numpy.ndarray`, shape (n,)
        Pixels.
    sign : `~numpy.ndarray`, shape (n,)
        1 where the science image is brighter, -1 where the template is.
    """

    science: Exposure
    template: Exposure
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    sign: NDArray[np.float64]


def inject(ready: ReadyPair, rng: np.random.Generator) -> Injected:
    """Add stars to one of two registered images, or change stars that are there."""
    science, template = copied(ready.science.exposure), copied(ready.registration.template)
    donors = _donors(ready)
    height, width = science.shape
    radius = int(np.ceil(RADIUS_FWHM * ready.fwhm))
    rows: list[tuple[float, float, float]] = []
    if not len(donors):
        return Injected(science, template, *np.zeros((3, 0)))
    bad = ((science.mask | template.mask) & int(UNUSABLE)) != 0
    bad |= ~np.isfinite(science.image) | ~np.isfinite(template.image)
    wanted = max(round(MOST_PER_MEGAPIXEL * height * width / 1e6), 10)
    for number in range(wanted):
        snr = FAINTEST_SNR * (BRIGHTEST_SNR / FAINTEST_SNR) ** rng.uniform()
        donor = donors[rng.integers(len(donors))]
        if number < SHARE_OF_VARIABLES * wanted:
            # A star that varies: its own light, more or less of it.
            x, y, share = float(donor["x"]), float(donor["y"]), min(snr / float(donor["snr"]), 0.9)
            shift = (0, 0)
        else:
            x, y = rng.uniform(radius, width - radius - 1), rng.uniform(radius, height - radius - 1)
            shift = round(x - float(donor["x"])), round(y - float(donor["y"]))
            x, y = float(donor["x"]) + shift[0], float(donor["y"]) + shift[1]
            share = min(snr / float(donor["snr"]), 1.0)
        box = _box(x, y, radius, science.shape)
        crowded = any(np.hypot(x - a, y - b) < ALONE_FWHM * ready.fwhm for a, b, _ in rows)
        if crowded or box is None or bad[box].mean() > 0.05 or bad[round(y), round(x)]:
            continue
        source = _box(float(donor["x"]), float(donor["y"]), radius, science.shape)
        assert source is not None
        sign = 1 if rng.random() < 0.5 else -1
        changed = science if sign > 0 else template
        original = ready.science.exposure if sign > 0 else ready.registration.template
        stamp = np.nan_to_num(original.image[source]) * _taper(radius)
        changed.image[box] += (share * stamp).astype(np.float32)
        changed.variance[box] += (share * np.maximum(_photon_variance(original, source), 0)).astype(
            np.float32
        )
        rows.append((x, y, float(sign)))
    return Injected(science, template, *np.array(rows, float).reshape(-1, 3).T)


def _photon_variance(exposure: Exposure, box: tuple[slice, slice]) -> NDArray[np.float64]:
    """Return the part of a stamp's variance that its star's own photons add."""
    return np.asarray(np.nan_to_num(exposure.variance[box] - np.nanmedian(exposure.variance)), float)


def _taper(radius: int) -> NDArray[np.float64]:
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    outside = np.clip((np.hypot(x, y) / radius - 2 / 3) * 3, 0, 1)
    return np.asarray(0.5 + 0.5 * np.cos(np.pi * outside))


def _box(x: float, y: float, radius: int, shape: tuple[int, int]) -> tuple[slice, slice] | None:
    column, row = round(x), round(y)
    if not (radius <= column < shape[1] - radius and radius <= row < shape[0] - radius):
        return None
    return slice(row - radius, row + radius + 1), slice(column - radius, column + radius + 1)


def _donors(ready: ReadyPair) -> Table:
    """Return bright clean stars whose neighbours are fifty times fainter, or else the most isolated ones."""
    stars = ready.registration.stars
    if "clean" in stars.colnames:
        stars = stars[np.asarray(stars["clean"], bool)]
    radius = int(np.ceil(RADIUS_FWHM * ready.fwhm))
    shape = ready.science.exposure.shape
    inside = [
        _box(float(x), float(y), radius, shape) is not None
        for x, y in zip(stars["x"], stars["y"], strict=True)
    ]
    stars = stars[np.asarray(inside, bool)] if len(stars) else stars
    bright = stars[np.asarray(stars["snr"]) > DONOR_SNR]
    if not len(bright):
        return bright
    everything = ready.science.stars
    tree = cKDTree(np.column_stack([everything["x"], everything["y"]]))
    light = np.asarray(everything["psfFlux"], float)
    near = tree.query_ball_point(np.column_stack([bright["x"], bright["y"]]), radius)
    own = np.asarray(bright["psfFlux"], float)
    neighbours = np.array([np.maximum(light[n], 0).sum() - flux for n, flux in zip(near, own, strict=True)])
    share = neighbours / own
    alone = bright[share < 0.02]
    return alone if len(alone) >= 5 else bright[np.argsort(share)[:5]]
