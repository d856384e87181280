"""Cosmic rays that agree better than the stars of one image are known by the other image."""

import numpy as np
import pytest
from astropy.io import fits

from prompt_processing.difference import difference_images


def add_hits(path, seed, number=70):
    """Add round hits, of one width that is half that of the stars."""
    rng = np.random.default_rng(seed)
    with fits.open(path, mode="update") as hdus:
        image = hdus[0].data
        height, width = image.shape
        for _ in range(number):
            x, y = rng.uniform(6, width - 7), rng.uniform(6, height - 7)
            peak = rng.uniform(800, 4000)
            column, row = int(x), int(y)
            rows, columns = np.mgrid[row - 5 : row + 6, column - 5 : column + 6]
            image[row - 5 : row + 6, column - 5 : column + 6] += peak * np.exp(
                -((columns - x) ** 2 + (rows - y) ** 2) / (2 * 0.75**2)
            )


def test_stars_are_what_both_images_show(same_grid, write_pair, caplog):
    files = write_pair(same_grid)
    plain = difference_images(files.science, files.template)
    add_hits(files.science, 1)
    add_hits(files.template, 2)
    hit = difference_images(files.science, files.template)
    assert caplog.text.count("cosmic rays or hot pixels? The PSF is taken from stars of") == 2
    # The user has named no seeing that could be wrong.
    assert "named" not in caplog.text
    for name in ("scienceFwhm", "templateFwhm"):
        assert hit.summary[name] == pytest.approx(plain.summary[name], rel=0.03)
    x, y = (np.asarray(plain.sources[name]) for name in ("x", "y"))
    near = np.hypot(np.subtract.outer(x, hit.sources["x"]), np.subtract.outer(y, hit.sources["y"])) < 2
    bright = np.asarray(plain.sources["snr"]) > 10
    assert bright.sum() >= 8
    # A hit in either image may cover a change.
    assert near.any(axis=1)[bright].mean() > 0.85
    assert np.count_nonzero(~near.any(axis=0)) <= 3
