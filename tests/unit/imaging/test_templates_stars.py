"""Stars of a template, as the reference of images without a catalogue."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.wcs import WCS

from prompt_processing.images import Exposure, Mask, Psf
from prompt_processing.imaging.templates.stars import template_stars

SIZE, SIGMA, NOISE = 400, 1.7, 2.0


def template(n_stars: int = 40) -> tuple[Exposure, np.ndarray]:
    rng = np.random.default_rng(3)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [150.0, 2.0], [SIZE / 2, SIZE / 2]
    wcs.wcs.cdelt = [-0.3 / 3600, 0.3 / 3600]
    yy, xx = np.mgrid[:SIZE, :SIZE]
    image = rng.normal(30.0, NOISE, (SIZE, SIZE))
    grid = np.stack(np.meshgrid(np.arange(30, 380, 50), np.arange(30, 380, 50)), -1).reshape(-1, 2)[:n_stars]
    stars = np.column_stack([grid + rng.uniform(-8, 8, grid.shape), rng.uniform(2000, 20000, len(grid))])
    for x, y, flux in stars:
        image += flux / (2 * np.pi * SIGMA**2) * np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / (2 * SIGMA**2))
    mask = np.zeros((SIZE, SIZE), np.int32)
    image[:, 390:] = np.nan
    mask[:, 390:] = int(Mask.NO_DATA)
    stamp = np.exp(-((np.mgrid[:25, :25] - 12.0) ** 2).sum(axis=0) / (2 * SIGMA**2))
    psf = Psf((stamp / stamp.sum()).astype(np.float32)[np.newaxis])
    variance = np.full((SIZE, SIZE), NOISE**2, np.float32)
    return Exposure(image.astype(np.float32), mask, variance, wcs, psf), stars


@pytest.mark.parametrize("with_psf", [True, False])
def test_positions_and_fluxes_of_stars_are_those_of_the_template(with_psf: bool) -> None:
    coadd, truth = template()
    if not with_psf:
        coadd.psf = None
    before = coadd.image.copy()
    found = template_stars(coadd)
    np.testing.assert_array_equal(coadd.image, before)
    assert len(found) > 0.9 * len(truth)
    assert coadd.wcs is not None
    x, y = coadd.wcs.all_world2pix(found["ra"], found["dec"], 0)
    nearest = np.argmin(np.hypot(x[:, None] - truth[:, 0], y[:, None] - truth[:, 1]), axis=1)
    assert np.median(np.hypot(x - truth[nearest, 0], y - truth[nearest, 1])) < 0.05
    assert np.median(found["flux"] / truth[nearest, 2]) == pytest.approx(1.0, abs=0.02)


def test_a_template_without_stars_has_none() -> None:
    coadd, _ = template(0)
    assert len(template_stars(coadd)) == 0
