"""Cosmic rays in sharp images are known by the other image, which has the stars and not the hits."""

import numpy as np
from astropy.table import Table

from prompt_processing.difference.hits import mark_hits
from prompt_processing.difference.prepare import PreparedImage
from prompt_processing.images import Exposure, Mask
from prompt_processing.imaging.calibration.neighbours import subtract_sources
from prompt_processing.imaging.calibration.psf.parametric import round_psf

STARS = np.array([[30.0, 25.0], [60.4, 70.5], [80.0, 20.0]])


def prepared(seed, fwhm=2.3, shift=0.0, scale=1.0):
    rng = np.random.default_rng(seed)
    image = rng.normal(0, 5, (100, 100)).astype(np.float32)
    psf = round_psf(fwhm)
    subtract_sources(image, psf, STARS[:, 0] + shift, STARS[:, 1], np.full(3, -8000.0 * scale))
    exposure = Exposure(
        image, np.zeros(image.shape, np.int32), np.full(image.shape, 25.0, np.float32), psf=psf
    )
    return PreparedImage("a.fits", exposure, Table(), 0.0, 5.0, psf.fwhm_at(), None, 3, 0)


def test_hits_are_marked_and_stars_are_not():
    image, other = prepared(1), prepared(2, fwhm=2.6, shift=4.0, scale=0.5)
    image.exposure.image[50, 45] += 900
    image.exposure.image[12, 70:73] += 700
    n = mark_hits(image, other, lambda x, y: (x + 4.0, y), 2.0)
    marked = image.exposure.has(Mask.CR)
    assert n == marked.sum()
    assert marked[50, 45]
    assert marked[12, 71]
    assert image.exposure.image[50, 45] < 50
    for x, y in STARS:
        assert not marked[round(y), round(x)]


def test_light_that_both_images_have_is_not_a_hit_however_sharp():
    image, other = prepared(3), prepared(4)
    for one in (image, other):
        one.exposure.image[50, 45] += 900
    mark_hits(image, other, lambda x, y: (x, y), 1.0)
    assert not image.exposure.has(Mask.CR)[50, 45]


def test_wide_stars_need_no_other_image():
    image = prepared(5, fwhm=4.0)
    image.exposure.image[50, 45] += 900
    assert mark_hits(image, prepared(6), lambda x, y: (x, y), 1.0) == 0
