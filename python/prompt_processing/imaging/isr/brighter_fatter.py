"""Undo the repulsion of collected charge, which widens bright stars (Coulton et al. 2018)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_PASSES = 10
_ENOUGH = 1e-5


def correct_brighter_fatter(image: NDArray[np.float32], kernel: NDArray[np.floating]) -> int:
    """Return charge to the pixels where it was released, in place.

    Parameters
    ----------
    image : `~numpy.ndarray` of float32, shape (height, width)
        Electrons.
    kernel : `~numpy.ndarray`, shape (n, n), n odd
        Potential of one electron's charge, per electron.

    Returns
    -------
    passes : `int`
        Number of iterations.

    Raises
    ------
    ValueError
        Raised if the kernel is not a square with an odd width.
    """
    # It takes as long to import as a tenth of a worker's start, and few cameras have such a kernel.
    from scipy.signal import oaconvolve

    if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1] or kernel.shape[0] % 2 == 0:
        raise ValueError(f"The kernel of the brighter-fatter effect has the shape {kernel.shape}.")
    observed = image.astype(np.float64)
    current = observed.copy()
    for passes in range(1, _PASSES + 1):  # noqa: B007
        potential = oaconvolve(current, np.asarray(kernel, float), mode="same")
        gradient_y, gradient_x = np.gradient(potential)
        slope_y, slope_x = np.gradient(current)
        bent_y = np.gradient(gradient_y, axis=0)
        bent_x = np.gradient(gradient_x, axis=1)
        moved = 0.5 * (slope_y * gradient_y + slope_x * gradient_x + current * (bent_y + bent_x))
        updated = observed + moved
        change = float(np.max(np.abs(updated - current)))
        current = updated
        if change < _ENOUGH * max(float(np.max(np.abs(observed))), 1.0):
            break
    image[:] = current
    return passes
