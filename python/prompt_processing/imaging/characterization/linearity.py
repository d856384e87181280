"""Deviation of an amplifier from linearity, from flats of several exposure times under a steady lamp."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAST_TIMES = 5
"""Minimum number of different exposure times."""

LEAST_RANGE = 4.0
"""Least ratio of the longest and the shortest."""


@dataclass(frozen=True, slots=True)
class LinearityFit:
    """Correction of an amplifier: ``true = adu + quadratic * adu^2 + cubic * adu^3``.

    Attributes
    ----------
    quadratic, cubic
        Per ADU, and per ADU squared; 0 if not measured.
    limit
        Highest signal (ADU) of the fit.
    residual
        Largest deviation from linearity after the correction, relative.
    before
        Largest deviation before it.
    n_levels
        Number of different exposure times; 0 if not measured.
    reason
        Why it is not measured; empty if it is.
    """

    quadratic: float = 0.0
    cubic: float = 0.0
    limit: float = float("nan")
    residual: float = float("nan")
    before: float = float("nan")
    n_levels: int = 0
    reason: str = ""


def fit_linearity(
    times: Sequence[float], signals: Sequence[float], full_well: float = float("inf")
) -> LinearityFit:
    """Compare signals with exposure times.

    Parameters
    ----------
    times
        Exposure times of the flats, seconds.
    signals
        Median signal of the amplifier in each, ADU above bias.
    full_well
        Signal (ADU) above which flats are left out.

    Returns
    -------
    fit : `LinearityFit`
        Without a measurement, and with the reason, for too few or too similar exposure times, or a lamp that
        was not steady.
    """
    t, s = np.asarray(times, float), np.asarray(signals, float)
    # Near the full well the response bends for another reason.
    good = (t > 0) & (s > 0) & (s < 0.9 * full_well if np.isfinite(full_well) else np.ones(len(s), np.bool_))
    t, s = t[good], s[good]
    levels = np.unique(np.round(t, 6))
    if len(levels) < LEAST_TIMES:
        return LinearityFit(reason=f"{len(levels)} exposure times; {LEAST_TIMES} are needed")
    if levels[-1] < LEAST_RANGE * levels[0]:
        return LinearityFit(
            reason=f"exposure times differ by a factor of {levels[-1] / levels[0]:.1f}; "
            f"{LEAST_RANGE:g} is needed"
        )
    repeat = [float(np.std(s[t == time]) / np.mean(s[t == time])) for time in levels if np.sum(t == time) > 1]
    steadiness = float(np.median(repeat)) if repeat else 0.0
    if steadiness > 0.01:
        return LinearityFit(reason=f"the lamp varies by {steadiness:.1%}")
    # Linear in the unknowns: s = rate t - quadratic s^2 - cubic s^3.
    scale = float(s.max())
    x = s / scale
    for powers in ((2, 3), (2,)):
        design = np.column_stack([t / t.max(), *(-(x**power) for power in powers)])
        weight = 1 / np.sqrt(x)[:, np.newaxis]
        solution, *_ = np.linalg.lstsq(design * weight, x * weight[:, 0], rcond=None)
        covariance = np.linalg.pinv((design * weight).T @ (design * weight))
        scatter = float(np.std((design @ solution - x) * weight[:, 0]) * np.sqrt(len(x) / max(len(x) - 3, 1)))
        if len(powers) == 1 or abs(solution[2]) > 5 * scatter * np.sqrt(covariance[2, 2]):
            break
    # A correction is relative to faint signals, where the response is 1 by definition.
    quadratic = float(solution[1] / scale)
    cubic = float(solution[2] / scale**2) if len(solution) > 2 else 0.0
    corrected = s + quadratic * s**2 + cubic * s**3
    return LinearityFit(
        quadratic,
        cubic,
        limit=scale,
        residual=_deviation(t, corrected),
        before=_deviation(t, s),
        n_levels=len(levels),
    )


def _deviation(times: NDArray[np.float64], signals: NDArray[np.float64]) -> float:
    """Return the largest deviation of a level from a constant rate."""
    levels = np.unique(np.round(times, 6))
    rates = np.array([np.mean(signals[np.round(times, 6) == level]) / level for level in levels])
    return float(np.max(np.abs(rates / np.median(rates) - 1)))
