"""Subtract a pair of real images with this project and with others."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from astropy.table import Table
from chain.subtractors import subtract_with
from numpy.typing import NDArray

from prompt_processing.difference import DifferenceError, difference_images, open_image
from prompt_processing.difference.prepare import prepare
from prompt_processing.difference.register import register
from prompt_processing.images import UNUSABLE, Exposure, Mask

from .seeing import gaussian_seeing
from .sets import RADIUS_PIXELS, Pair, position

RELIABLE = 0.5


@dataclass(slots=True)
class Row:
    """What came of a pair."""

    set: str
    science: str
    template: str
    possible: bool
    refused: str = ""
    seeing: list[float] = field(default_factory=list)
    fitted_seeing: list[float] = field(default_factory=list)
    sky: float = float("nan")
    stars: float = float("nan")
    bright: float = float("nan")
    model_error: float = 0.0
    changes: int = 0
    known: int = 0
    found: int = 0
    missed: list[str] = field(default_factory=list)
    spurious: int = 0
    seconds: float = 0.0
    left: dict[str, list[float]] = field(default_factory=dict)
    peers: dict[str, str] = field(default_factory=dict)


def light_left(
    difference: NDArray[np.floating], science: Exposure, stars: Table, noise: NDArray[np.floating]
) -> list[float]:
    """Return the residual within one FWHM of bright stars, per cent of their light, and what noise leaves.

    Parameters
    ----------
    difference, noise : `~numpy.ndarray`
        A difference on the science image's flux scale, and the standard deviation of its pixels.
    science : `Exposure`
        The science image.
    stars : `~astropy.table.Table`
        Stars that both images show: ``x, y, snr``.
    """
    assert science.psf is not None
    radius = science.psf.fwhm_at()
    half = int(np.ceil(radius))
    j, i = np.mgrid[-half : half + 1, -half : half + 1]
    disc = np.hypot(j, i) <= radius
    unusable = science.has(UNUSABLE | Mask.SAT)
    shares = []
    for star in stars[np.argsort(-np.asarray(stars["snr"]))]:
        x, y = round(float(star["x"])), round(float(star["y"]))
        part = np.s_[y - half : y + half + 1, x - half : x + half + 1]
        if min(x, y) < half or science.image[part].shape != disc.shape or unusable[part].any():
            continue
        light, residual = science.image[part][disc].sum(), difference[part][disc]
        if light > 0 and np.isfinite(residual).all():
            # Of Gaussian noise, absolute values average 0.8 standard deviations.
            shares.append((np.abs(residual).sum() / light, 0.798 * noise[part][disc].sum() / light))
        if len(shares) == 60:
            break
    return [100 * float(value) for value in np.median(shares, axis=0)] if shares else [float("nan")] * 2


def run_pair(name: str, pair: Pair, peers: list[str], seconds: float) -> Row:
    """Subtract a pair with this project and with peers."""
    row = Row(name, Path(pair.science).name, Path(pair.template).name, pair.possible)
    row.fitted_seeing = [gaussian_seeing(pair.science), gaussian_seeing(pair.template)]
    start = time.perf_counter()
    try:
        result = difference_images(pair.science, pair.template)
    except DifferenceError as error:
        row.refused = str(error)
        return row
    row.seconds = time.perf_counter() - start
    summary = result.summary
    row.seeing = [float(summary["scienceFwhm"]), float(summary["templateFwhm"])]
    row.sky, row.stars, row.bright = (
        float(summary[key]) for key in ("residualSky", "residualStars", "residualBrightStars")
    )
    row.model_error = float(summary["modelError"])
    row.changes = len(result.sources)
    judge(row, pair, result.sources, result.science)
    if not peers:
        return row
    opened = open_image(pair.science), open_image(pair.template)
    science = prepare(opened[0], True)
    template = prepare(opened[1], True, science.fwhm if np.isfinite(science.fwhm) else 3.5)
    registration = register(science, template)
    noise = np.sqrt(result.difference.variance)
    row.left["ours"] = light_left(result.difference.image, result.science, registration.stars, noise)
    bad = science.exposure.has(UNUSABLE | Mask.SAT) | registration.template.has(UNUSABLE | Mask.SAT)
    bad |= ~np.isfinite(registration.template.image)
    plain = np.sqrt(science.exposure.variance + np.nan_to_num(registration.template.variance))
    for peer in peers:
        with tempfile.TemporaryDirectory() as folder:
            done = subtract_with(
                peer, science.exposure.image, np.where(bad, 0, registration.template.image), bad,
                (science.fwhm, template.fwhm), Path(folder), seconds,
            )  # fmt: skip
        if done.difference is None:
            row.peers[peer] = done.remark
            continue
        row.peers[peer] = f"{done.seconds:.1f} s"
        row.left[peer] = light_left(done.difference, science.exposure, registration.stars, plain)
    return row


def judge(row: Row, pair: Pair, sources: Table, science: Exposure) -> None:
    """Count known changes that were found, and reliable sources that are none."""
    x, y = (np.asarray(sources[axis], float) for axis in ("x", "y"))
    reliable = np.asarray(sources["reliability"], float) > RELIABLE
    explained = np.zeros(len(sources), bool)
    height, width = science.shape
    for change in pair.changes:
        at = position(change, science.wcs)
        if not (0 <= at[0] < width and 0 <= at[1] < height):
            continue
        near = np.hypot(x - at[0], y - at[1]) < change.get("radius", RADIUS_PIXELS)
        explained |= near
        if "sign" in change:
            near &= np.sign(np.asarray(sources["psfFlux"], float)) == np.sign(change["sign"])
        row.known += 1
        if (near & reliable).any():
            row.found += 1
        else:
            scores = [float(value) for value in np.asarray(sources["reliability"])[near]]
            row.missed.append(
                f"({at[0]:.0f}, {at[1]:.0f})" + (f" scored {max(scores):.2f}" if scores else "")
            )
    row.spurious = int(np.count_nonzero(reliable & ~explained))
