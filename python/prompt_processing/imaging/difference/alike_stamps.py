"""Choose the stamps that one kernel can match: constant sources that fit as well as others do."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from prompt_processing.images.robust import MAD_TO_SIGMA

from .options import KernelOptions

FEW_STAMPS = 20
"""Number of stamps below which variable sources may be the majority."""

FEWEST_ALIKE = 4
"""Smallest number of them that agree on a flux ratio."""

PEERS = 21
"""Number of stamps of similar precision that a stamp is compared with."""

MEDIAN_SQUARE = 0.455
"""Median of the square of a Gaussian variable of scatter 1."""

LARGEST_MISFIT = 2.5
"""Misfit of a star, in units of the scatter of all stars' misfits, that is still chance."""


def of_one_flux_ratio(
    product: NDArray[np.float64], precision: NDArray[np.float64], options: KernelOptions
) -> NDArray[np.bool_]:
    """Return which stamps share a flux ratio: variable sources and spurious ones have another.

    The ratio is that of the best multiple of one kernel for all. Each stamp must agree with the median of
    all, and with that of stamps of similar precision: beside the noise of the faint ones, a bright star that
    varies by a tenth would pass.

    Parameters
    ----------
    product, precision : `~numpy.ndarray`, shape (n,)
        The right side and the matrix of each stamp's normal equation for that multiple alone. A stamp
        without precision has no measured ratio and counts as alike.
    options : `KernelOptions`
        Options of the fit.
    """
    measured = np.flatnonzero(precision > 0)
    n = len(measured)
    alike = np.ones(len(precision), bool)
    if n < 3:
        return alike
    ratio, error = product[measured] / precision[measured], precision[measured] ** -0.5
    if n < FEW_STAMPS:
        # Most of a few stars may have changed: the largest group that agrees counts. Both images are
        # calibrated, so among equal groups, it is the one nearest 1.
        apart = np.abs(ratio - ratio[:, np.newaxis])
        tolerance = np.maximum(
            options.flux_change * np.abs(ratio[:, np.newaxis]),
            options.clip * np.hypot(error, error[:, np.newaxis]),
        )
        group = (apart < tolerance)[np.lexsort((np.abs(ratio - 1), -np.sum(apart < tolerance, axis=1)))[0]]
        if np.count_nonzero(group) < FEWEST_ALIKE:
            return alike
        centre, spread = float(np.median(ratio[group])), 0.0
        deviation = _deviation(ratio, error, centre, spread, options)
    else:
        centre = float(np.median(ratio))
        spread = MAD_TO_SIGMA * float(np.median(np.abs(ratio - centre)))
        deviation = np.maximum(
            _deviation(ratio, error, centre, spread, options),
            _deviation(ratio, error, *_of_peers(ratio, error), options),
        )
    alike[measured] = deviation < max(1.0, float(np.sort(deviation)[max(n // 3, 3) - 1]) * (1 + 1e-9))
    return alike


def _deviation(
    ratio: NDArray[np.float64],
    error: NDArray[np.float64],
    centre: NDArray[np.float64] | float,
    spread: NDArray[np.float64] | float,
    options: KernelOptions,
) -> NDArray[np.float64]:
    """Return the distances of ratios from a centre, in units of the largest that is permitted."""
    least = options.flux_change * np.abs(centre)
    return np.asarray(np.abs(ratio - centre) / np.maximum(least, options.clip * np.hypot(spread, error)))


def _of_peers(
    ratio: NDArray[np.float64], error: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the median of the ratios of similar precision, and their robust scatter, for each ratio."""
    n = len(ratio)
    order = np.argsort(error)
    width = min(PEERS, n)
    windows = np.lib.stride_tricks.sliding_window_view(ratio[order], width)
    medians = np.median(windows, axis=1)
    spreads = MAD_TO_SIGMA * np.median(np.abs(windows - medians[:, np.newaxis]), axis=1)
    window = np.empty(n, np.intp)
    window[order] = np.clip(np.arange(n) - width // 2, 0, n - width)
    return medians[window], spreads[window]


def without_misfits(
    chi2: NDArray[np.float64], signal: NDArray[np.float64], used: NDArray[np.bool_], clip: float
) -> NDArray[np.bool_]:
    """Return which stamps fit as well as their light lets them.

    Parameters
    ----------
    chi2 : `~numpy.ndarray`, shape (n,)
        Reduced chi squared of each stamp.
    signal : `~numpy.ndarray`, shape (n,)
        Reduced chi squared of each stamp without a source: a measure of its light.
    used : `~numpy.ndarray` of bool, shape (n,)
        Stamps that determined the kernel.
    clip : `float`
        Largest excess of ln(chi2 / expected chi2) over the median of those, robust sigmas.
    """
    expected = _expected_chi2(chi2, signal, used)
    log = np.log(np.maximum(chi2, 1e-3) / expected)
    centre = float(np.median(log[used]))
    spread = max(MAD_TO_SIGMA * float(np.median(np.abs(log[used] - centre))), 0.05)
    # Noise is much the same in all stamps, but misfits that exceed it scatter by themselves.
    chance = (1 + (expected - 1) * LARGEST_MISFIT**2 / MEDIAN_SQUARE) / expected
    return np.asarray(log < centre + np.maximum(clip * spread, np.log(chance)))


def _expected_chi2(
    chi2: NDArray[np.float64], signal: NDArray[np.float64], used: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the reduced chi squared of stamps with the match's error, in proportion to their light.

    Where no kernel fits well, as for undersampled PSFs, noise hides that in faint stamps. Bright ones fit
    worse, but they determine the kernel: without them, it fits none.
    """
    brightest = np.flatnonzero(used)[np.argsort(-signal[used])][: max(int(used.sum()) // 3, 3)]
    excess = float(np.median((chi2[brightest] - 1) / np.maximum(signal[brightest], 1.0)))
    return np.asarray(1 + max(excess, 0.0) * signal)
