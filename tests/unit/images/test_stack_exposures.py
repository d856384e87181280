"""Exposures in the layout of the Rubin stack's afw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from lsst.sphgeom import Angle, Circle, LonLat, UnitVector3d
from stack_files import ArchiveWriter, ast_sky_wcs, piff_pickle, write_exposure

from prompt_processing.images import AB_ZERO_POINT_NJY, Exposure, Mask
from prompt_processing.images.afw.archive import Archive
from prompt_processing.images.afw.errors import StackFileError
from prompt_processing.images.afw.exposure import read_exposure
from prompt_processing.images.afw.transforms import PixelsToSky

SHAPE = (60, 80)
BITS = {"BAD": 0, "SAT": 1, "NO_DATA": 8, "DETECTED": 20, "CLIPPED": 5, "UNMASKEDNAN": 14}
CENTRE = (53.0, -28.0)
ORIGIN = (1000, 2000)


def planes() -> tuple[Any, Any, Any]:
    image = np.arange(SHAPE[0] * SHAPE[1], dtype=np.float32).reshape(SHAPE)
    return image, np.zeros(SHAPE, np.int32), np.full(SHAPE, 4, np.float32)


def written(path: Path, archive: ArchiveWriter | None = None, **primary: Any) -> Exposure:
    write_exposure(path, planes(), BITS, primary=primary, archive=archive, origin=ORIGIN)
    return read_exposure(path)


def test_pixels_are_read_with_mask_planes_by_name(tmp_path: Path) -> None:
    image, mask, variance = planes()
    for row, name in enumerate(BITS):
        mask[row] = 1 << BITS[name]
    for compressed in (False, True):
        path = tmp_path / f"{compressed}.fits"
        write_exposure(path, (image, mask, variance), BITS, compressed=compressed)
        exposure = read_exposure(path)
        np.testing.assert_array_equal(exposure.image, image)
        np.testing.assert_array_equal(exposure.variance, variance)
        assert exposure.image.dtype.isnative
        expected = [Mask.BAD, Mask.SAT, Mask.NO_DATA, Mask.DETECTED, 0, Mask.NO_DATA]
        assert [int(value) for value in exposure.mask[:6, 0]] == [int(plane) for plane in expected]
        assert not exposure.mask[6:].any()


def test_wcs_of_the_archive_is_that_of_the_pixels(tmp_path: Path) -> None:
    archive = ArchiveWriter()
    identity = archive.add(
        "SkyWcs", [{"wcs": ast_sky_wcs((1020.0, 2010.0), CENTRE, cubic=2e-9)}], module="lsst.afw.geom"
    )
    exposure = written(tmp_path / "e.fits", archive, SKYWCS_ID=identity)
    assert exposure.wcs is not None
    with fits.open(tmp_path / "e.fits") as hdus:
        truth = PixelsToSky(Archive(hdus)[identity], *ORIGIN)
        pixels = np.random.default_rng(1).uniform(0, SHAPE[0], (50, 2))
        sky = truth(pixels)
    # The reference pixel of the stack, and a place where the distortion is more than a pixel.
    np.testing.assert_allclose(exposure.wcs.all_pix2world([[20.0, 10.0]], 0)[0], CENTRE, atol=1e-9)
    np.testing.assert_allclose(exposure.wcs.all_world2pix(sky, 0), pixels, atol=1e-5)


def test_exact_wcs_of_the_header_is_kept(tmp_path: Path) -> None:
    archive = ArchiveWriter()
    identity = archive.add("SkyWcs", [{"wcs": ast_sky_wcs((1020.0, 2010.0), CENTRE)}])
    header = {
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "RADESYS": "ICRS", "CRVAL1": CENTRE[0],
        "CRVAL2": CENTRE[1], "CRPIX1": 21.0, "CRPIX2": 11.0, "CD1_1": -0.2 / 3600, "CD2_2": 0.2 / 3600,
        "CD1_2": 0.0, "CD2_1": 0.0,
    }  # fmt: skip
    path = tmp_path / "e.fits"
    write_exposure(
        path, planes(), BITS, primary={"SKYWCS_ID": identity}, header=header, archive=archive, origin=ORIGIN
    )
    wcs = read_exposure(path).wcs
    assert wcs is not None
    assert list(wcs.wcs.ctype) == ["RA---TAN", "DEC--TAN"]
    assert list(wcs.wcs.crpix) == [21.0, 11.0]


def test_region_reads_its_pixels_with_their_wcs_and_psf(tmp_path: Path) -> None:
    archive = ArchiveWriter()
    wcs = archive.add("SkyWcs", [{"wcs": ast_sky_wcs((1020.0, 2010.0), CENTRE)}])
    psf = archive.add("GaussianPsf", [{"dimensions_x": 15, "dimensions_y": 15, "sigma": 2.0}])
    whole = written(tmp_path / "e.fits", archive, SKYWCS_ID=wcs, PSF_ID=psf)
    centre = UnitVector3d(LonLat.fromDegrees(*CENTRE))
    part = read_exposure(tmp_path / "e.fits", Circle(centre, Angle.fromDegrees(1.0 / 3600)))
    assert part.shape < (25, 25)
    assert whole.wcs is not None
    assert part.wcs is not None
    x, y = part.wcs.all_world2pix([CENTRE], 0)[0]
    assert part.image[round(y), round(x)] == whole.image[10, 20]
    assert part.psf is not None
    assert part.psf.fwhm_at() == pytest.approx(2.0 * 2.355, rel=0.01)


@pytest.mark.parametrize("as_archive", [True, False])
def test_photometric_calibration_is_read_from_archive_or_header(tmp_path: Path, as_archive: bool) -> None:
    if as_archive:
        archive = ArchiveWriter()
        row = {"flags": [True], "calibrationMean": 2.5, "calibrationErr": 0.1, "field": 0, "version": 1}
        exposure = written(tmp_path / "e.fits", archive, PHOTOCALIB_ID=archive.add("PhotoCalib", [row]))
    else:
        exposure = written(
            tmp_path / "e.fits",
            FLUXMAG0=AB_ZERO_POINT_NJY / 2.5,
            FLUXMAG0ERR=0.04 * AB_ZERO_POINT_NJY / 2.5,
        )
    assert exposure.photo_calib is not None
    assert exposure.photo_calib.njy_per_unit == pytest.approx(2.5)
    assert exposure.photo_calib.njy_per_unit_err == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("name", "problem"), [("cat_archive", None), ("place", "has no cat.archive in its index")]
)
def test_index_of_an_archive_may_be_of_the_first_version(
    tmp_path: Path, name: str, problem: str | None
) -> None:
    archive = ArchiveWriter()
    row = {"flags": [True], "calibrationMean": 0.5, "calibrationErr": 0.01, "field": 0, "version": 1}
    identity = archive.add("PhotoCalib", [row])
    path = tmp_path / "old.fits"
    written(path, archive, PHOTOCALIB_ID=identity)
    with fits.open(path, mode="update") as hdus:
        (index,) = (hdu for hdu in hdus if hdu.header.get("EXTTYPE") == "ARCHIVE_INDEX")
        index.columns.change_name("cat.archive", name)
    if problem is None:
        calibration = read_exposure(path).photo_calib
        assert calibration is not None
        assert calibration.njy_per_unit == 0.5
    else:
        with pytest.raises(StackFileError, match=problem):
            read_exposure(path)


def test_varying_photometric_calibration_has_its_mean_on_the_image(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    archive = ArchiveWriter()
    # 1 + 0.1 x over a box of which the image is the left half: 0.9 to 1.0.
    field = {
        "order_x": 1, "bbox_min_x": 1000, "bbox_min_y": 2000, "bbox_max_x": 1159, "bbox_max_y": 2059,
        "coefficients": np.array([1.0, 0.1]),
    }  # fmt: skip
    number = archive.add("ChebyshevBoundedField", [field])
    row = {"flags": [False], "calibrationMean": 2.0, "calibrationErr": 0.1, "field": number, "version": 1}
    exposure = written(tmp_path / "e.fits", archive, PHOTOCALIB_ID=archive.add("PhotoCalib", [row]))
    assert exposure.photo_calib is not None
    assert exposure.photo_calib.njy_per_unit == pytest.approx(2.0 * 0.95, rel=1e-3)
    assert "varies by 9.9 %" in caplog.text


def test_visit_is_read_from_header_and_archive(tmp_path: Path) -> None:
    archive = ArchiveWriter()
    label = archive.add("FilterLabel", [{"flags": [True, True], "band": "r", "physical": "r_57"}])
    detector = archive.add("Detector", [{"name": "R22_S11", "id": 94}], [{"gain": 1.0}])
    info = written(
        tmp_path / "e.fits", archive, FILTER_ID=label, DETECTOR_ID=detector, IDNUM=2025061000700,
        INSTRUMENT="LSSTCam", EXPTIME=30.0, TIMESYS="TAI", **{
            "DATE-AVG": "2025-06-11T03:00:00.000", "BORE-RA": 150.0, "BORE-DEC": 2.0, "ROTTYPE": "SKY",
            "BORE-ROTANG": 33.0, "BORE-AIRMASS": 1.2, "REASON": "science", "OBJECT": "COSMOS",
        },
    ).visit_info  # fmt: skip
    assert info is not None
    assert (info.exposure, info.detector, info.instrument) == (2025061000700, 94, "LSSTCam")
    assert (info.physical_filter, info.band) == ("r_57", "r")
    assert info.mid_mjd_tai == pytest.approx(60837.125)
    assert (info.boresight_ra, info.boresight_dec, info.rotation, info.airmass) == (150.0, 2.0, 33.0, 1.2)
    assert (info.observation_reason, info.target_name) == ("science", "COSMOS")


def test_psfex_model_is_its_polynomial(tmp_path: Path) -> None:
    """Terms are ordered 1, x, x2, y, xy, y2; position and pixels are those of the stack."""
    generator = np.random.default_rng(3)
    components = generator.uniform(0, 0.02, (6, 9, 9)).astype(np.float32)
    components[0] += np.outer(np.hanning(9), np.hanning(9)).astype(np.float32)
    archive = ArchiveWriter()
    sizes = {
        "ndim": 2, "ngroup": 1, "ncoeff": 6, "_size_size": 3, "_comp_size": 486, "_context_size": 2,
        "averagePosition_x": 0.0, "averagePosition_y": 0.0, "_pixstep": 1.0,
    }  # fmt: skip
    arrays = {
        "group": np.zeros(2, np.int32), "degree": np.array([2], np.int32), "basis": np.zeros(6),
        "coeff": np.zeros(6), "_size": np.array([9, 9, 6], np.int32), "_comp": components.ravel(),
        "_context_first": np.array([1040.0, 2030.0]), "_context_second": np.array([40.0, 25.0]),
    }  # fmt: skip
    psf = written(tmp_path / "e.fits", archive, PSF_ID=archive.add("PsfexPsf", [sizes], [arrays])).psf
    assert psf is not None
    for x, y in ((10.0, 20.0), (70.5, 3.0)):
        u, v = (x + 1000 - 1040) / 40, (y + 2000 - 2030) / 25
        terms = np.array([1, u, u * u, v, u * v, v * v])
        expected = np.tensordot(terms, components, axes=1)
        np.testing.assert_allclose(psf.image_at(x, y), expected / expected.sum(), atol=2e-5)


def test_piff_model_is_its_polynomial(tmp_path: Path) -> None:
    """It is read without Piff, whose pickle is not run."""
    generator = np.random.default_rng(4)
    coefficients = generator.uniform(0, 1e-6, (11, 11, 3))
    coefficients[:, :, 0] += np.outer(np.hanning(11), np.hanning(11))
    archive = ArchiveWriter()
    stored = archive.add("PiffPsf", [{"bytes": piff_pickle(coefficients, order=1, size=11)}])
    psf = written(tmp_path / "e.fits", archive, PSF_ID=stored).psf
    assert psf is not None
    for x, y in ((10.0, 20.0), (70.5, 3.0)):
        expected = coefficients @ np.array([1, y + 2000, x + 1000])
        np.testing.assert_allclose(psf.image_at(x, y), expected / expected.sum(), atol=1e-6)


def test_psf_of_a_coadd_is_the_mean_of_its_inputs(tmp_path: Path) -> None:
    archive = ArchiveWriter()
    coadd_wcs = archive.add("SkyWcs", [{"wcs": ast_sky_wcs((1020.0, 2010.0), CENTRE)}])
    inputs = []
    for sigma, weight, last in ((1.5, 3.0, 400), (2.5, 1.0, 400), (5.0, 1000.0, 10)):
        wcs = archive.add("SkyWcs", [{"wcs": ast_sky_wcs((200.0, 200.0), CENTRE)}])
        psf = archive.add("GaussianPsf", [{"dimensions_x": 41, "dimensions_y": 41, "sigma": sigma}])
        inputs.append(
            {
                "wcs": wcs, "psf": psf, "validPolygon": 0, "id": len(inputs), "bbox_min_x": 0,
                "bbox_min_y": 0, "bbox_max_x": last, "bbox_max_y": last, "weight": weight,
            }
        )  # fmt: skip
    settings = {"coaddwcs": coadd_wcs, "cachesize": 100, "avgpos_x": 0.0, "avgpos_y": 0.0}
    stored = archive.add("CoaddPsf", [settings], inputs)
    psf = written(tmp_path / "e.fits", archive, PSF_ID=stored).psf
    assert psf is not None
    image = psf.image_at(40, 30)
    rows = np.arange(image.shape[0]) - image.shape[0] // 2
    gaussians = [np.exp(-0.5 * (rows / sigma) ** 2) / (sigma * (2 * np.pi) ** 0.5) for sigma in (1.5, 2.5)]
    expected = 0.75 * np.outer(gaussians[0], gaussians[0]) + 0.25 * np.outer(gaussians[1], gaussians[1])
    np.testing.assert_allclose(image, expected, atol=2e-4)


def test_unknown_psf_leaves_the_rest_readable(tmp_path: Path) -> None:
    archive = ArchiveWriter()
    exposure = written(tmp_path / "e.fits", archive, PSF_ID=archive.add("CellCoaddPsf", [{"x": 1.0}]))
    assert exposure.psf is None
    np.testing.assert_array_equal(exposure.image, planes()[0])


def test_pickle_of_something_else_is_not_run(tmp_path: Path) -> None:
    archive = ArchiveWriter()
    trap = tmp_path / "trap"
    code = b"cos\nsystem\n(S'touch " + str(trap).encode() + b"'\ntR."
    exposure = written(tmp_path / "e.fits", archive, PSF_ID=archive.add("PiffPsf", [{"bytes": code}]))
    assert exposure.psf is None
    assert not trap.exists()


def test_unit_is_that_of_the_image_and_not_of_the_raw(tmp_path: Path) -> None:
    """Calibrations keep the header of a raw."""
    primary = {"BUNIT": "adu", "LSST ISR UNITS": "electron"}
    write_exposure(tmp_path / "a.fits", planes(), BITS, primary=primary)
    write_exposure(tmp_path / "b.fits", planes(), BITS, primary=primary, header={"BUNIT": "nJy"})
    units = [read_exposure(tmp_path / f"{name}.fits").metadata["BUNIT"] for name in "ab"]
    assert units == ["electron", "nJy"]


def test_other_files_are_no_exposures(tmp_path: Path) -> None:
    path = tmp_path / "image.fits"
    fits.PrimaryHDU(np.zeros((3, 3), np.float32)).writeto(path)
    with pytest.raises(StackFileError, match="no image plane"):
        read_exposure(path)
