"""The seeing of an image from fits that share no code with the project."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize

from prompt_processing.difference import DifferenceError, open_image


def gaussian_seeing(name: str) -> float:
    """Return the FWHM of an image's stars (pixels) from elliptical Gaussians; NaN without any.

    Of the fitted sources, stars are those of the most common width that is not a single pixel's.
    """
    try:
        image = open_image(name).exposure.image.astype(float)
    except DifferenceError:
        return float("nan")
    finite = np.isfinite(image)
    image = np.where(finite, image, np.median(image[finite])) if finite.any() else np.zeros_like(image)
    image -= (
        ndimage.median_filter(image[::4, ::4], 15)
        .repeat(4, 0)
        .repeat(4, 1)[: image.shape[0], : image.shape[1]]
    )
    noise = 0.741 * float(np.subtract(*np.percentile(image[::3, ::3], [75, 25])))
    smooth = ndimage.gaussian_filter(image, 1.2)
    peaks = (smooth == ndimage.maximum_filter(smooth, 15)) & (smooth > 12 * noise)
    rows, columns = np.nonzero(peaks)
    order = np.argsort(-smooth[rows, columns])[:250]
    ceiling = 0.8 * float(image.max())
    y, x = np.mgrid[-10:11, -10:11]
    widths = []
    for row, column in zip(rows[order], columns[order], strict=True):
        part = image[row - 10 : row + 11, column - 10 : column + 11]
        if part.shape != (21, 21) or part[8:13, 8:13].max() > ceiling:
            continue

        def model(p: NDArray[np.float64], data: NDArray[np.float64] = part) -> NDArray[np.float64]:
            u, v = x - p[1], y - p[2]
            shape = u * u / p[3] ** 2 + v * v / p[4] ** 2 + 2 * p[5] * u * v / (p[3] * p[4])
            return np.asarray((p[0] * np.exp(-0.5 * np.clip(shape, 0, 200)) + p[6] - data).ravel())

        fit = optimize.least_squares(
            model, [part.max(), 0, 0, 2, 2, 0, 0], loss="soft_l1", f_scale=5 * noise, max_nfev=60
        )
        height, dx, dy, a, b, c, _ = fit.x
        if not 0.5 < height / part[8:13, 8:13].max() < 2:
            # Not a single source: a spike on a galaxy, or a gradient.
            continue
        if abs(c) < 0.95 and np.hypot(dx, dy) < 2 and min(abs(a), abs(b)) > 0.5 and max(abs(a), abs(b)) < 9:
            widths.append(2.3548 * np.sqrt(abs(a * b)) * (1 - c * c) ** -0.25)
    if len(widths) < 3:
        return float(np.median(widths)) if widths else float("nan")
    window = np.sort([width for width in widths if width > 1.5] or widths)
    while len(window) > 4:
        n = (len(window) + 1) // 2
        start = int(np.argmin(window[n - 1 :] - window[: len(window) - n + 1]))
        window = window[start : start + n]
    return float(np.mean(window))
