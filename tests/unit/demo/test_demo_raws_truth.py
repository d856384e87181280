"""The truth of a way from raw frames to alerts: what a template's depth should be, and what can be found."""

from __future__ import annotations

import pandas as pd
import pytest
from astropy.wcs import WCS

from prompt_processing.demo.raws.depth import depth_ratio
from prompt_processing.demo.raws.reachable import on_images, stand_out
from prompt_processing.images import Exposure, Mask


def image(variance: float, columns_off: float = 0.0, shape: tuple[int, int] = (60, 80)) -> Exposure:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [150.0, 2.0]
    wcs.wcs.crpix = [40.5 + columns_off, 30.5]
    wcs.wcs.cdelt = [-1 / 3600, 1 / 3600]
    made = Exposure.blank(shape)
    made.variance[:] = variance
    made.wcs = wcs
    return made


def test_depth_is_that_of_the_images_which_have_each_place() -> None:
    assert depth_ratio(image(3.0), [image(4.0), image(8.0)]) == pytest.approx(9 / 8, abs=1e-5)
    # The second image begins 20 columns further left, and does not reach the last 20.
    template = image(1 / (1 / 4 + 1 / 8))
    template.variance[:, 60:] = 4.0
    images = [image(4.0), image(8.0, columns_off=-20.0)]
    images[1].variance[:, :10] = 1.0
    assert depth_ratio(template, images) == pytest.approx(1, abs=1e-5)


def test_light_of_stars_does_not_count_for_the_depth() -> None:
    bright = image(4.0)
    bright.variance[10:50, 10:50] = 400.0
    bright.mask[10:50, 10:50] |= int(Mask.DETECTED)
    assert depth_ratio(image(4.0), [bright]) == pytest.approx(1, abs=1e-6)


def test_changes_off_the_template_and_in_the_light_of_stars_are_not_expected() -> None:
    field = image(1.0)
    assert field.wcs is not None
    ra, dec = field.wcs.all_pix2world([40, 5, 40, 40], [30, 30, 80, 30], 0)
    places = pd.DataFrame({"ra": ra, "dec": dec})
    assert on_images(places, [field]).tolist() == [True, False, False, True]
    assert on_images(places, [image(1.0, columns_off=20.0), field]).tolist() == [True, True, False, True]
    ra, dec = field.wcs.all_pix2world([20, 21, 50, 70], [30, 30, 30, 30], 0)
    light = pd.DataFrame(
        {"ra": ra, "dec": dec, "flux": [1e4, 5e5, 1.2e5, 9e3], "delta_flux": [1e4, 0.0, 2e4, -1e3]}
    )
    # A transient beside a star, the star, a variable star by a fifth, and a faint one by a tenth.
    assert stand_out(light, 2.0).tolist() == [False, False, True, False]
