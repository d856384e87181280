"""Images of Gaussian stars on white noise."""

import numpy as np

NOISE = 5.0
"""Noise of a pixel."""


def sky(stars, moments=(2.9, 2.9, 0.0), shape=(300, 300), seed=1):
    """Return an image with Gaussian stars ``(x, y, height)`` of some second moments, and its noise."""
    rng = np.random.default_rng(seed)
    image = rng.normal(0, NOISE, shape)
    xx, yy, xy = moments
    determinant = xx * yy - xy**2
    rows, columns = np.indices(shape)
    for x, y, height in stars:
        u, v = columns - x, rows - y
        image += height * np.exp(-0.5 * (yy * u * u - 2 * xy * u * v + xx * v * v) / determinant)
    return image.astype(np.float32)


def grid(n, height, seed=2, size=300):
    rng = np.random.default_rng(seed)
    steps = np.linspace(20, size - 20, n)
    x, y = (axis.ravel() + rng.uniform(-4, 4, n * n) for axis in np.meshgrid(steps, steps))
    return list(zip(x, y, height * rng.uniform(0.5, 2, n * n), strict=True))
