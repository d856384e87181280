"""Compare the difference of a simulated pair with what changed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from astropy.table import Table
from chain.score import Score, score_pixels
from scipy.spatial import cKDTree

from prompt_processing.difference import DifferenceResult
from prompt_processing.images import UNUSABLE, Mask

RELIABLE = 0.5
MATCH_FWHM = 0.7
"""Greatest distance between a change and its detection, in units of the seeing; at least `MATCH_PIXELS`."""
MATCH_PIXELS = 3.0


def match_pixels(fwhm: float) -> float:
    """Return the greatest distance between a change and its detection for a seeing; both in pixels."""
    return max(MATCH_FWHM * fwhm, MATCH_PIXELS)


@dataclass(frozen=True, slots=True, eq=False)
class DifferencedPair:
    """A pair's difference and its truth.

    Attributes
    ----------
    result : `DifferenceResult`
        What ``prompt-difference`` made of it.
    truth, stars : `~astropy.table.Table`
        As in `~prompt_processing.simulation.regime_pair.RegimePair`.
    fwhm : `float`
        True seeing of the science image, pixels.
    """

    result: DifferenceResult
    truth: Table
    stars: Table
    fwhm: float


@dataclass
class PairScore:
    """Counts and residuals of one pair."""

    bright: int = 0
    bright_found: int = 0
    faint: int = 0
    faint_found: int = 0
    spurious_bright: int = 0
    spurious_faint: int = 0
    spurious_reliable: int = 0
    seeing_ratio: float = np.nan
    residual_sky: float = np.nan
    residual_stars: float = np.nan
    residual_bright: float = np.nan
    missed: list[str] = field(default_factory=list)
    spurious: list[str] = field(default_factory=list)


def match_changes(truth: Table, sources: Table, pixels: float) -> np.ndarray:
    """Return the row of the change, of the same sign, that each source is; -1 for a spurious one."""
    if not len(sources) or not len(truth):
        return np.full(len(sources), -1)
    places = np.column_stack([truth["x"], truth["y"]])
    distance, index = cKDTree(places).query(np.column_stack([sources["x"], sources["y"]]))
    same_sign = np.sign(np.asarray(truth["flux"])[index]) == np.sign(np.asarray(sources["psfFlux"]))
    return np.where((distance < pixels) & same_sign, index, -1)


def score_pair(pair: DifferencedPair) -> PairScore:
    """Compare a difference with what changed."""
    out = PairScore()
    sources, truth = pair.result.sources, pair.truth
    matched = match_changes(truth, sources, match_pixels(pair.fwhm))
    found = np.isin(np.arange(len(truth)), matched)
    snr = np.asarray(truth["snr"])
    clear = np.asarray(truth["clear"], bool) & (np.asarray(truth["kind"]) != "colour")
    bright, faint = clear & (snr > 10), clear & (snr > 5) & (snr <= 10)
    out.bright, out.bright_found = int(bright.sum()), int((bright & found).sum())
    out.faint, out.faint_found = int(faint.sum()), int((faint & found).sum())
    for row in truth[bright & ~found]:
        reason = _rejection(pair, float(row["x"]), float(row["y"]))
        out.missed.append(
            f"missed {row['kind']} S/N {row['snr']:.0f} at ({row['x']:.0f}, {row['y']:.0f}): {reason}"
        )
    spurious = matched < 0
    strong = np.abs(np.asarray(sources["snr"])) > 10
    reliable = np.asarray(sources["reliability"]) > RELIABLE
    out.spurious_bright, out.spurious_faint = int((spurious & strong).sum()), int((spurious & ~strong).sum())
    out.spurious_reliable = int((spurious & reliable).sum())
    for row in sources[spurious & (strong | reliable)]:
        out.spurious.append(
            f"spurious S/N {row['snr']:.0f} at ({row['x']:.0f}, {row['y']:.0f}), "
            f"reliability {row['reliability']:.2f}"
        )
    out.seeing_ratio = float(pair.result.summary["scienceFwhm"]) / pair.fwhm
    difference = pair.result.difference
    usable = (difference.mask & int(UNUSABLE | Mask.SAT_TEMPLATE)) == 0
    pixels = Score()
    score_pixels(pixels, difference.image, difference.variance, usable, pair.stars, truth)
    out.residual_sky = pixels.residual_sky[0]
    if pixels.residual_stars:
        out.residual_stars, out.residual_bright = pixels.residual_stars[0], pixels.residual_bright[0]
    return out


def _rejection(pair: DifferencedPair, x: float, y: float) -> str:
    """Return the filter that rejected the source at a position, or its mask planes."""
    rejected = pair.result.rejected
    if len(rejected):
        distance = np.hypot(np.asarray(rejected["x"]) - x, np.asarray(rejected["y"]) - y)
        if distance.min() < match_pixels(pair.fwhm):
            nearest = rejected[int(np.argmin(distance))]
            return f"rejected as {nearest['reason']}"
    planes = int(pair.result.difference.mask[round(y), round(x)])
    names = [plane.name for plane in Mask if planes & plane and plane.name and plane != Mask.DETECTED]
    return f"not detected, masked as {', '.join(names)}" if names else "not detected"
