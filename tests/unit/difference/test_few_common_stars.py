"""A handful of stars aligns two images, if enough of them agree."""

import numpy as np
import pytest
from astropy.table import Table

from prompt_processing.difference.common_stars import few_common_stars, pixel_wcs
from prompt_processing.difference.prepare import PreparedImage
from prompt_processing.images import Exposure, Psf

SHAPE = (200, 220)
PLACES = np.array([[60.0, 50.0], [150.0, 70.0], [90.0, 140.0], [160.0, 150.0]])


def image(places, flux):
    rows, columns = np.indices(SHAPE)
    pixels = (
        sum(np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8.0) for x, y in places) * flux / (8 * np.pi)
    )
    exposure = Exposure(pixels.astype(np.float32), np.zeros(SHAPE, np.int32), np.ones(SHAPE, np.float32))
    psf = np.exp(-(np.mgrid[-8:9, -8:9] ** 2).sum(axis=0) / 8.0)
    exposure.psf = Psf((psf / psf.sum())[np.newaxis].astype(np.float32))
    stars = Table({"x": places[:, 0], "y": places[:, 1], "snr": np.full(len(places), 100.0)})
    stars["clean"] = True
    return PreparedImage("a.fits", exposure, stars, 0.0, 1.0, 4.7, None, 3, 0)


def compared(stars, shift):
    science, template = image(PLACES[:stars] + shift, 3000.0), image(PLACES[:stars], 1000.0)
    wcs = pixel_wcs(SHAPE)
    return few_common_stars(science, template, wcs, wcs)


@pytest.mark.parametrize(("stars", "shift"), [(1, (6.0, -3.0)), (2, (12.0, 9.0)), (4, (33.0, -21.0))])
def test_few_stars_show_the_shift_and_the_flux_ratio(stars, shift):
    few = compared(stars, np.array(shift))
    assert few.stars == stars
    assert few.offset == pytest.approx(np.hypot(*shift), abs=0.01)
    assert few.flux_ratio == pytest.approx(3.0, rel=0.01)


def test_far_shift_of_two_stars_is_chance():
    assert compared(2, np.array([33.0, -21.0])) is None


def test_stars_among_more_cosmic_rays_agree_near_the_place_in_the_headers():
    hits = np.random.default_rng(5).uniform(20, 180, (2, 10, 2))
    wcs = pixel_wcs(SHAPE)
    science = image(np.vstack([PLACES + np.array([2.0, -1.0]), hits[0]]), 3000.0)
    template = image(np.vstack([PLACES, hits[1]]), 1000.0)
    few = few_common_stars(science, template, wcs, wcs, agreeing=4)
    assert few.offset == pytest.approx(np.hypot(2.0, 1.0), abs=0.5)
    assert few_common_stars(image(hits[0], 3000.0), template, wcs, wcs, agreeing=4) is None
