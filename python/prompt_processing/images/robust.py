"""Robust estimates of scatter."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAD_TO_SIGMA", "robust_scatter"]

MAD_TO_SIGMA = 1.4826
"""Ratio of standard deviation to median absolute deviation of a normal distribution."""


def robust_scatter(values: NDArray[np.floating]) -> float:
    """Return the standard deviation of most of the values, from their median absolute deviation.

    Parameters
    ----------
    values : `~numpy.ndarray`, shape (n,)
        Finite numbers.
    """
    return MAD_TO_SIGMA * float(np.median(np.abs(values - np.median(values))))
