from __future__ import annotations

import numpy as np
import pytest
from astropy.wcs import WCS
from lsst.sphgeom import Angle, Circle, ConvexPolygon, LonLat, UnitVector3d

from prompt_processing.images import Exposure, Psf
from prompt_processing.images.exposure import box_around
from prompt_processing.images.fits import read_exposure, write_exposure

SHAPE = (90, 120)
STEP = 0.2 / 3600


@pytest.fixture
def coadd() -> Exposure:
    """An image at RA 30, Dec -20 whose PSF and pixels tell where they are."""
    rng = np.random.default_rng(5)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [30.0, -20.0]
    wcs.wcs.crpix = [61.0, 46.0]
    wcs.wcs.cd = np.diag([-STEP, STEP])
    wcs.wcs.set()
    narrow, wide = np.zeros((2, 1, 7, 7), np.float32)
    narrow[0, 3, 3] = 1
    wide[0, 3, 4] = 0.1
    psf = Psf(np.concatenate([narrow, wide, wide]), 1, 60.0, 45.0, 60.0)
    image = rng.normal(0, 1, SHAPE).astype(np.float32)
    return Exposure(
        image, np.arange(image.size, dtype=np.int32).reshape(SHAPE), np.ones_like(image), wcs, psf
    )


def polygon(wcs: WCS, x: list[float], y: list[float]) -> ConvexPolygon:
    ra, dec = wcs.all_pix2world(x, y, 0)
    return ConvexPolygon([UnitVector3d(LonLat.fromDegrees(*place)) for place in zip(ra, dec, strict=True)])


def test_box_holds_the_region_and_little_more(coadd: Exposure) -> None:
    region = polygon(coadd.wcs, [20, 50, 50, 20], [30, 30, 60, 60])
    rows, columns = box_around(region, coadd.wcs, SHAPE)
    assert rows.start == pytest.approx(28, abs=1)
    assert rows.stop == pytest.approx(63, abs=1)
    assert columns.start == pytest.approx(18, abs=1)
    assert columns.stop == pytest.approx(53, abs=1)


def test_box_of_a_circle_holds_all_of_it(coadd: Exposure) -> None:
    ra, dec = coadd.wcs.all_pix2world(60, 45, 0)
    circle = Circle(UnitVector3d(LonLat.fromDegrees(float(ra), float(dec))), Angle.fromDegrees(10 * STEP))
    rows, columns = box_around(circle, coadd.wcs, SHAPE)
    assert (rows.start, rows.stop) == (pytest.approx(33, abs=1), pytest.approx(58, abs=1))
    assert (columns.start, columns.stop) == (pytest.approx(48, abs=1), pytest.approx(73, abs=1))


def test_box_stays_on_the_image(coadd: Exposure) -> None:
    beyond = polygon(coadd.wcs, [-50, 200, 200, -50], [-40, -40, 300, 300])
    assert box_around(beyond, coadd.wcs, SHAPE) == (slice(0, SHAPE[0]), slice(0, SHAPE[1]))
    off = polygon(coadd.wcs, [300, 320, 320, 300], [10, 10, 20, 20])
    rows, columns = box_around(off, coadd.wcs, SHAPE)
    assert columns == slice(SHAPE[1] - 1, SHAPE[1])
    assert rows.start < rows.stop


@pytest.mark.parametrize("from_file", [True, False])
def test_part_has_the_same_sky_psf_and_pixels(coadd: Exposure, tmp_path, from_file: bool) -> None:
    region = polygon(coadd.wcs, [20, 50, 50, 20], [30, 30, 60, 60])
    write_exposure(tmp_path / "coadd.fits", coadd)
    whole = read_exposure(tmp_path / "coadd.fits")
    rows, columns = box_around(region, coadd.wcs, SHAPE)
    part = read_exposure(tmp_path / "coadd.fits", region) if from_file else whole.part(rows, columns)
    np.testing.assert_array_equal(part.image, whole.image[rows, columns])
    np.testing.assert_array_equal(part.mask, whole.mask[rows, columns])
    np.testing.assert_array_equal(part.variance, whole.variance[rows, columns])
    x0, y0 = columns.start, rows.start
    np.testing.assert_allclose(part.wcs.all_pix2world(3, 5, 0), whole.wcs.all_pix2world(3 + x0, 5 + y0, 0))
    np.testing.assert_allclose(part.psf.image_at(3, 5), whole.psf.image_at(3 + x0, 5 + y0), rtol=1e-6)
