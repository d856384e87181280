"""Simulate a detector's exposure of a drawn sky: noise, saturation, bleeds, defects, cosmic rays."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numba
import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from prompt_processing.images import Exposure, Mask, PhotoCalib, Psf, VisitInfo

if TYPE_CHECKING:
    from .scenes import PairScene

NJY_PER_ELECTRON = 0.575
"""Zero point of a 30 s exposure in r with an 8 m telescope."""


def observe(
    truth: NDArray[np.float64], scene: PairScene, wcs: WCS, psf: Psf, rng: np.random.Generator
) -> Exposure:
    """Add noise, saturation, bleeds and defects; return the calibrated exposure."""
    electrons = rng.poisson(np.maximum(truth / NJY_PER_ELECTRON + scene.sky_electrons, 0)).astype(float)
    electrons += rng.normal(0, 7.0, truth.shape)
    saturated = electrons > scene.saturation_electrons
    mask = np.zeros(truth.shape, np.int32)
    if saturated.any():
        _bleed(electrons, saturated, scene.saturation_electrons)
        saturated = electrons >= scene.saturation_electrons
        grown = saturated.copy()
        for axis in (0, 1):
            for step in (-1, 1):
                grown |= np.roll(saturated, step, axis)
        mask[grown] |= int(Mask.SAT)
    variance = np.maximum(electrons, 1.0) + 49.0
    image = electrons - scene.sky_electrons
    _add_defects(image, mask, scene.masked_fraction, rng)
    visit = VisitInfo("LSSTCam", 2026052000001, 94, "r_57", "r", 61180.1, 30.0, 53.1, -28.1, 0.0, 1.2)
    return Exposure(
        (image * NJY_PER_ELECTRON).astype(np.float32),
        mask,
        (variance * NJY_PER_ELECTRON**2).astype(np.float32),
        wcs,
        psf,
        PhotoCalib(1.0),
        visit,
    )


@numba.njit(cache=True)
def _bleed(electrons: NDArray[np.float64], saturated: NDArray[np.bool_], full: float) -> None:
    """Spread the charge above ``full`` along the column, equally in both directions."""
    height, width = electrons.shape
    for column in range(width):
        row = 0
        while row < height:
            if not saturated[row, column]:
                row += 1
                continue
            first, excess = row, 0.0
            while row < height and saturated[row, column]:
                excess += electrons[row, column] - full
                electrons[row, column] = full
                row += 1
            up, down = row, first - 1
            while excess > 0 and (up < height or down >= 0):
                if up < height:
                    room = max(full - electrons[up, column], 0.0)
                    electrons[up, column] += min(room, excess)
                    excess -= min(room, excess)
                    up += 1
                if down >= 0 and excess > 0:
                    room = max(full - electrons[down, column], 0.0)
                    electrons[down, column] += min(room, excess)
                    excess -= min(room, excess)
                    down -= 1
            row = max(row, up)


def _add_defects(
    image: NDArray[np.float64], mask: NDArray[np.int32], fraction: float, rng: np.random.Generator
) -> None:
    """Flag and corrupt columns and spots until the given share of the pixels is bad."""
    height, width = image.shape
    bad = np.zeros(image.shape, bool)
    while bad.mean() < fraction:
        if rng.random() < 0.3:
            column, top = int(rng.integers(width)), int(rng.integers(height))
            bad[top:, column : column + int(rng.integers(1, 4))] = True
        for _ in range(20):
            row, column, size = int(rng.integers(height)), int(rng.integers(width)), int(rng.integers(2, 12))
            bad[row : row + size, column : column + size] = True
    image[bad] = rng.normal(0, 3000, int(bad.sum()))
    mask[bad] |= int(Mask.BAD)


def add_cosmic_rays(exposure: Exposure, scene: PairScene, rng: np.random.Generator) -> None:
    height, width = scene.shape
    for i in range(scene.cosmic_rays):
        x, y, angle = rng.uniform(5, width - 5), rng.uniform(5, height - 5), rng.uniform(0, math.pi)
        length, charge = rng.uniform(1, 12), rng.uniform(500, 5000) * NJY_PER_ELECTRON
        steps = np.arange(0, length, 0.7)
        columns = np.clip(np.rint(x + steps * math.cos(angle)).astype(int), 0, width - 1)
        rows = np.clip(np.rint(y + steps * math.sin(angle)).astype(int), 0, height - 1)
        exposure.image[rows, columns] += np.float32(charge)
        if i % 2:
            exposure.mask[rows, columns] |= int(Mask.CR)
