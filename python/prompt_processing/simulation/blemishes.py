"""Faults of detectors and of their calibration, which `.regimes` names."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .regimes import FrameQuality
from .rendering import add_blobs

__all__ = ["bleed", "cosmic_rays", "digitize", "fixed_pattern", "flat_error", "hot_pixels", "sky_light"]

_CHARGE_PER_PIXEL = 350.0
"""Typical charge of a cosmic ray along a pixel of its track, electrons."""


def sky_light(shape: tuple[int, int], quality: FrameQuality, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return the sky's expected electrons, with a gradient and a patch of scattered light."""
    height, width = shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    u, v = x / width - 0.5, y / height - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    slope = np.cos(angle) * u + np.sin(angle) * v
    patch = np.exp(-((u - rng.uniform(-0.4, 0.4)) ** 2 + (v - rng.uniform(-0.4, 0.4)) ** 2) / 0.03)
    return np.asarray(quality.sky * (1 + quality.gradient * (slope + patch)), np.float32)


def cosmic_rays(
    image: NDArray[np.float32], quality: FrameQuality, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Add tracks in place, and return which pixels they hit."""
    height, width = image.shape
    hits = np.zeros(image.shape, np.float32)
    for _ in range(rng.poisson(quality.cosmic_rays * height * width / 1e6)):
        n = max(int((rng.exponential(6.0) + 0.5) / 0.4), 1)
        turns = np.cumsum(rng.normal(0, 0.25, n)) if rng.random() < 0.25 else np.zeros(n)
        angles = rng.uniform(0, 2 * np.pi) + turns
        charge = 0.4 * _CHARGE_PER_PIXEL * rng.gamma(2.0, 0.5, n) * rng.lognormal(0, 0.8)
        if n == 1:
            # A steep track leaves all its charge in one place.
            charge *= 10.0
        x = rng.uniform(0, width) + 0.4 * np.cumsum(np.cos(angles))
        y = rng.uniform(0, height) + 0.4 * np.cumsum(np.sin(angles))
        add_blobs(hits, x, y, charge, quality.cosmic_ray_sigma**2)
    image += hits
    return np.asarray(hits > 0.3 * np.sqrt(quality.sky))


def hot_pixels(
    image: NDArray[np.float32], quality: FrameQuality, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Add hot pixels and dim dark columns in place, and return which pixels are affected."""
    height, width = image.shape
    bad = np.zeros(image.shape, bool)
    n = rng.poisson(quality.hot_pixels * image.size)
    rows, columns = rng.integers(0, height, n), rng.integers(0, width, n)
    noise = np.sqrt(quality.sky + quality.read_noise**2)
    np.add.at(image, (rows, columns), (noise * 10 ** rng.uniform(0.5, 2.0, n)).astype(np.float32))
    bad[rows, columns] = True
    for _ in range(quality.dark_columns):
        column, first = rng.integers(0, width), rng.integers(0, height)
        image[first:, column] *= np.float32(rng.uniform(0.3, 0.7))
        bad[first:, column] = True
    return bad


def flat_error(
    shape: tuple[int, int], quality: FrameQuality, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return the factor by which a flat was wrong: dust rings, and scatter from pixel to pixel."""
    height, width = shape
    factor = 1 + 0.1 * quality.flat_error * rng.standard_normal(shape).astype(np.float32)
    if quality.flat_error:
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        for _ in range(max(height * width // 60_000, 2)):
            radius = np.hypot(x - rng.uniform(0, width), y - rng.uniform(0, height))
            outer = rng.uniform(12, 25)
            factor -= quality.flat_error * ((radius < outer) & (radius > 0.4 * outer))
    return np.asarray(factor, np.float32)


def fixed_pattern(
    shape: tuple[int, int], quality: FrameQuality, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return the residue of bias and dark, electrons: columns, waves, and a step between amplifiers."""
    height, width = shape
    columns = rng.standard_normal(width)[np.newaxis] * 0.6
    y, x = np.mgrid[0:height, 0:width]
    waves = 0.8 * np.sin(2 * np.pi * (x / 9.0 + y / 37.0) + rng.uniform(0, 6))
    step = np.where(x < width // 2, -0.7, 0.7)
    noise = quality.fixed_pattern * np.sqrt(quality.sky + quality.read_noise**2)
    return np.asarray(noise * (columns + waves + step), np.float32)


def bleed(image: NDArray[np.float32], full_well: float) -> NDArray[np.bool_]:
    """Limit pixels to the full well in place, let the excess fill the column, and return full pixels."""
    saturated = np.zeros(image.shape, bool)
    labels, _ = ndimage.label(image > full_well, structure=[[0, 1, 0]] * 3)
    for place in ndimage.find_objects(labels):
        if place is None:
            continue
        rows, columns = place
        column = image[:, columns.start]
        excess = float(np.sum(column[rows] - full_well))
        column[rows] = full_well
        saturated[rows, columns] = True
        for row_order in (range(rows.stop, len(column)), range(rows.start - 1, -1, -1)):
            left = excess / 2
            for row in row_order:
                room = max(full_well - float(column[row]), 0.0)
                column[row] += min(room, left)
                left -= room
                if left <= 0:
                    break
                saturated[row, columns] = True
    return saturated


def digitize(
    electrons: NDArray[np.float32], quality: FrameQuality
) -> NDArray[np.float32] | NDArray[np.uint16]:
    """Convert electrons to the counts of a file."""
    counts = electrons / np.float32(quality.gain) + np.float32(quality.pedestal)
    if quality.integers:
        return np.clip(np.rint(counts), 0, 65535).astype(np.uint16)
    return counts.astype(np.float32)
