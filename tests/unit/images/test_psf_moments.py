"""The width of a PSF is measured in any sampling."""

import numpy as np
import pytest

from prompt_processing.images.psf import FWHM_PER_SIGMA, Psf


@pytest.mark.parametrize(
    ("sigma", "error"), [(0.45, 0.17), (0.5, 0.13), (0.6, 0.07), (0.7, 0.03), (1.5, 0.01), (4.0, 0.01)]
)
def test_fwhm_is_that_of_the_profile_in_coarse_and_fine_pixels(sigma, error):
    rows, columns = np.mgrid[-20:21, -20:21]
    profile = np.exp(-0.5 * (rows**2 + columns**2) / sigma**2)
    psf = Psf((profile / profile.sum())[np.newaxis].astype(np.float32))
    assert psf.fwhm_at() == pytest.approx(FWHM_PER_SIGMA * sigma, rel=error)
