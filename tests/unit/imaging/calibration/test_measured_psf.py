from __future__ import annotations

import numpy as np
import pytest

from prompt_processing.images import Exposure, Mask
from prompt_processing.imaging.calibration.psf.measured import measure_psf
from prompt_processing.imaging.errors import NumericalError


def field(fwhm: float, n_stars: int) -> Exposure:
    """Return stars of Gaussian profile on a sky with noise 1, and a corner without data."""
    generator = np.random.default_rng(5)
    size, sigma = 400, fwhm / 2.3548
    image = generator.normal(100, 1, (size, size)).astype(np.float32)
    rows, columns = np.mgrid[-12:13, -12:13]
    for x, y in generator.uniform(20, size - 20, (n_stars, 2)):
        column, row = round(x), round(y)
        profile = np.exp(-0.5 * ((columns - x + column) ** 2 + (rows - y + row) ** 2) / sigma**2)
        image[row - 12 : row + 13, column - 12 : column + 13] += 500 * profile
    mask = np.zeros(image.shape, np.int32)
    image[:60, :60] = np.nan
    mask[:60, :60] = int(Mask.NO_DATA)
    return Exposure(image, mask, np.ones_like(image))


def test_psf_of_a_coadd_without_one_is_measured_from_its_stars() -> None:
    exposure = field(3.6, 60)
    psf = measure_psf(exposure, 4.5)
    assert psf.fwhm_at(200, 200) == pytest.approx(3.6, rel=0.03)
    assert exposure.psf is None
    assert np.isnan(exposure.image[0, 0])


def test_image_without_stars_has_no_psf() -> None:
    with pytest.raises(NumericalError):
        measure_psf(field(3.6, 0), 4.0)
