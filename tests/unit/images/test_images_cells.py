"""Coadds of cells, as which other stacks write templates in the layout of lsst-images."""

from __future__ import annotations

from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.wcs import WCS
from lsst.daf.butler import StorageClassFactory
from lsst.images import YX, Box, Image, MaskPlane, MaskSchema, SkyProjection, TractFrame
from lsst.images._cell_grid import CellGrid, CellGridBounds, CellIJ
from lsst.images.cells import CellCoadd, CellPointSpreadFunction
from lsst.images.serialization import write_archive

from prompt_processing.images import Exposure, Mask
from prompt_processing.images.fits import read_exposure

SHAPE, START, CELL = (160, 200), (400, 1000), (40, 50)
FWHM = 2.355


def a_wcs() -> WCS:
    made = WCS(naxis=2)
    made.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    made.wcs.crval = [150.0, 2.0]
    made.wcs.crpix = [101.0, 81.0]
    made.wcs.cd = np.diag([-0.2, 0.2]) / 3600
    made.wcs.set()
    return made


def width_at(x: float, y: float) -> float:
    return 2.0 + 0.1 * y / CELL[0] + 0.05 * x / CELL[1]


def a_coadd(*missing: tuple[int, int]) -> CellCoadd:
    box = Box.from_shape(SHAPE, start=START)
    offsets = np.hypot(*np.mgrid[-10:11, -10:11])
    images = np.empty((4, 4, 21, 21))
    for i, j in np.ndindex(4, 4):
        width = width_at((j + 0.5) * CELL[1], (i + 0.5) * CELL[0])
        images[i, j] = np.exp(-0.5 * (offsets / width) ** 2)
    for cell in missing:
        images[cell] = np.nan
    grid = CellGrid(bbox=box, cell_shape=YX(*CELL))
    bounds = CellGridBounds(grid=grid, bbox=box, missing=frozenset(CellIJ(*cell) for cell in missing))
    psf = CellPointSpreadFunction(images, bounds)
    frame = TractFrame(skymap="m", tract=3, bbox=Box.from_shape((4000, 4000)))
    sky = SkyProjection.from_fits_wcs(a_wcs(), frame, x0=START[1], y0=START[0])
    pixels = np.random.default_rng(1).normal(0, 1, SHAPE).astype(np.float32)
    coadd = CellCoadd(
        Image(pixels, bbox=box, unit=u.nJy, sky_projection=sky),
        variance=Image(np.ones(SHAPE, np.float32), bbox=box, unit=u.nJy**2),
        mask_schema=MaskSchema([MaskPlane("SATURATED", "Saturated."), MaskPlane("NO_DATA", "Nothing.")]),
        sky_projection=sky,
        band="r",
        psf=psf,
    )
    coadd.mask.set("NO_DATA", np.broadcast_to(np.arange(SHAPE[1]) < 50, SHAPE))
    return coadd


def read(folder: Path, *missing: tuple[int, int]) -> Exposure:
    write_archive(a_coadd(*missing), str(folder / "coadd.fits"))
    return read_exposure(folder / "coadd.fits")


def test_template_of_cells_is_an_exposure(tmp_path: Path) -> None:
    coadd = a_coadd()
    exposure = read(tmp_path)
    np.testing.assert_array_equal(exposure.image, coadd.image.array)
    assert (exposure.mask[:, :50] == int(Mask.NO_DATA)).all()
    assert not exposure.mask[:, 50:].any()
    assert exposure.wcs is not None
    np.testing.assert_allclose(exposure.wcs.all_pix2world(7.0, 9.0, 0), a_wcs().all_pix2world(7.0, 9.0, 0))
    assert exposure.photo_calib is not None
    assert exposure.photo_calib.njy_per_unit == 1.0


def test_psf_follows_the_cells_that_have_one(tmp_path: Path) -> None:
    psf = read(tmp_path, (0, 0), (1, 2)).psf
    assert psf is not None
    for x, y in ((100.0, 80.0), (175.0, 140.0), (75.0, 20.0)):
        # A cell has one PSF; the sum of pixels makes it a little wider.
        assert psf.fwhm_at(x, y) == pytest.approx(FWHM * width_at(x, y), rel=0.02)


def test_coadd_without_any_psf_is_readable(tmp_path: Path) -> None:
    assert read(tmp_path, *np.ndindex(4, 4)).psf is None


def test_butler_gives_templates_of_cells_to_our_tasks() -> None:
    factory = StorageClassFactory()
    assert factory.getStorageClass("ExposureF").can_convert(factory.getStorageClass("CellCoadd"))
