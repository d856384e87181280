from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from lsst.daf.butler import Butler, Config, DatasetType
from lsst.sphgeom import Angle as SphAngle
from lsst.sphgeom import Circle, LonLat, UnitVector3d
from small_exposure import a_wcs, an_exposure

from prompt_processing.images import (
    Background,
    Defects,
    Exposure,
    Mask,
    PhotoCalib,
    SkyMap,
    Tract,
)
from prompt_processing.images.fits import read_exposure, write_exposure


def test_exposure_survives_its_file(tmp_path: Path) -> None:
    exposure = an_exposure()
    write_exposure(tmp_path / "e.fits", exposure)
    back = read_exposure(tmp_path / "e.fits")

    assert np.array_equal(back.mask, exposure.mask)
    assert np.isnan(back.image[3, 4])
    good = np.isfinite(exposure.image)
    # The quantisation step is a quarter of the noise of 30.
    assert np.abs(back.image[good] - exposure.image[good]).max() <= 7.6
    assert np.std(back.image[good] - exposure.image[good]) < 0.1 * 30
    assert np.abs(back.variance - exposure.variance).max() <= 9.1
    assert back.visit_info is not None
    assert exposure.visit_info is not None
    assert back.visit_info.exposure == exposure.visit_info.exposure
    assert np.isnan(back.visit_info.airmass)
    assert back.photo_calib == exposure.photo_calib
    assert back.metadata == {**exposure.metadata, "BUNIT": "nJy"}
    assert back.psf is not None
    assert exposure.psf is not None
    np.testing.assert_allclose(back.psf.image_at(20, 30), exposure.psf.image_at(20, 30), rtol=1e-6)
    sky = back.wcs.pixel_to_world_values([10.0, 90.0], [20.0, 110.0])
    np.testing.assert_allclose(sky, a_wcs().pixel_to_world_values([10.0, 90.0], [20.0, 110.0]), atol=1e-11)


def test_file_is_plain_compressed_fits_for_astropy(tmp_path: Path) -> None:
    write_exposure(tmp_path / "e.fits", an_exposure())
    with fits.open(tmp_path / "e.fits") as hdus:
        hdus.verify("exception")
        assert [hdu.name for hdu in hdus] == [
            "PRIMARY",
            "IMAGE",
            "MASK",
            "VARIANCE",
            "PSF/PIFF/INTERP/SOLUTION",
            "JSON",
            "INDEX",
        ]
        assert isinstance(hdus["IMAGE"], fits.CompImageHDU)
        assert hdus["MASK"].header["MP_SAT"] == 1
        assert hdus[0].header["BUNIT"] == "nJy"
        assert WCS(hdus["VARIANCE"].header).sip is not None
        assert hdus["IMAGE"].data.shape == (120, 100)


def test_calibration_without_variance_keeps_its_precision(tmp_path: Path) -> None:
    flat = Exposure.blank((64, 80))
    flat.image += np.random.default_rng(2).normal(1, 1e-3, flat.shape).astype(np.float32)
    write_exposure(tmp_path / "flat.fits", flat)
    assert np.abs(read_exposure(tmp_path / "flat.fits").image - flat.image).max() < 1e-4


def test_constant_frame_is_kept_exactly(tmp_path: Path) -> None:
    frame = Exposure.blank((64, 80))
    frame.image += np.float32(0.1)
    write_exposure(tmp_path / "frame.fits", frame)
    assert np.array_equal(read_exposure(tmp_path / "frame.fits").image, frame.image)


def test_planes_of_different_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"differ in shape"):
        Exposure(np.zeros((2, 2), np.float32), np.zeros((2, 3), np.int32), np.zeros((2, 2), np.float32))


def test_cutout_over_the_edge_is_marked(tmp_path: Path) -> None:
    exposure = an_exposure()
    cutout = exposure.cutout(2, 118, 21)
    assert cutout.shape == (21, 21)
    assert (cutout.mask[-1, 0] & Mask.NO_DATA) != 0
    assert cutout.image[10, 10] == exposure.image[118, 2]
    assert cutout.wcs is not None
    assert exposure.wcs is not None
    np.testing.assert_allclose(
        cutout.wcs.pixel_to_world_values(10, 10), exposure.wcs.pixel_to_world_values(2, 118), atol=1e-11
    )


def test_defects_and_background_survive_their_files(tmp_path: Path) -> None:
    defects = Defects(np.array([[3, 4, 2, 5]], np.int32))
    defects.write_fits(tmp_path / "d.fits")
    mask = np.zeros((20, 20), np.int32)
    Defects.read_fits(tmp_path / "d.fits").apply(mask)
    assert np.argwhere(mask == Mask.BAD)[[0, -1]].tolist() == [[4, 3], [8, 4]]

    background = Background(np.arange(30, dtype=np.float32).reshape(5, 6), 20, (95, 118))
    background.write_fits(tmp_path / "b.fits")
    back = Background.read_fits(tmp_path / "b.fits")
    assert back.shape == (95, 118)
    image = back.image()
    assert image.shape == (95, 118)
    # A plane of the box centres is a plane of the pixels: 1 per box in x, 6 per box in y.
    assert image[50, 51] - image[50, 31] == pytest.approx(1.0, abs=1e-3)


def test_sky_map_finds_the_patches_under_a_region() -> None:
    sky_map = SkyMap("demo", 0.2, 1000, 100, 3, (Tract(0, 53.0, -28.0), Tract(1, 60.0, -28.0)))
    assert SkyMap.from_json(sky_map.to_json()) == sky_map
    centre = Circle(UnitVector3d(LonLat.fromDegrees(53.0, -28.0)), SphAngle.fromDegrees(0.001))
    assert sky_map.find(centre) == [(0, 4)]
    x, y = sky_map.patch_wcs(0, 4).world_to_pixel_values(53.0, -28.0)
    assert (float(x), float(y)) == pytest.approx((599.5, 599.5), abs=1e-6)
    # Neighbours share the sky of their overlap.
    ra, dec = sky_map.patch_wcs(0, 4).pixel_to_world_values(1100, 600)
    x, y = sky_map.patch_wcs(0, 5).world_to_pixel_values(ra, dec)
    assert (float(x), float(y)) == pytest.approx((100, 600), abs=1e-6)


def test_butler_keeps_an_exposure_under_the_fields_name(tmp_path: Path) -> None:
    Butler.makeRepo(tmp_path / "repo", config=Config())
    with Butler.from_config(tmp_path / "repo", run="r", writeable=True) as butler:
        for name, storage_class, value in (
            ("template_coadd", "ExposureF", an_exposure()),
            ("initial_photoCalib_detector", "PhotoCalib", PhotoCalib(2.0, 0.1)),
        ):
            butler.registry.registerDatasetType(
                DatasetType(name, (), storage_class, universe=butler.dimensions)
            )
            butler.put(value, name)
        assert isinstance(butler.get("template_coadd"), Exposure)
        assert butler.get("template_coadd.wcs").wcs.ctype[0] == "RA---TAN-SIP"
        assert butler.get("template_coadd.dimensions") == (100, 120)
        assert butler.get("initial_photoCalib_detector") == PhotoCalib(2.0, 0.1)


def test_unit_of_a_calibration_is_kept_and_files_are_repeatable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dark = Exposure.blank((64, 80), metadata={"BUNIT": "electron/s"})
    dark.image += np.random.default_rng(2).normal(0.2, 1e-3, dark.shape).astype(np.float32)
    for name, now in (("a", 1e9), ("b", 2e9)):
        monkeypatch.setattr("time.time", lambda now=now: now)
        write_exposure(tmp_path / name, dark)
    assert read_exposure(tmp_path / "a").metadata["BUNIT"] == "electron/s"
    np.testing.assert_array_equal(read_exposure(tmp_path / "a").variance, dark.variance)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_file_that_is_replaced_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "exposure.fits"
    for level in (1.0, 2.0):
        exposure = Exposure.blank((20, 30))
        exposure.image[:] = level
        exposure.metadata["LEVEL"] = level
        write_exposure(path, exposure)
        back = read_exposure(path)
        assert back.metadata["LEVEL"] == level
        assert back.image.mean() == level


def test_parts_of_one_reading_are_not_those_of_another(tmp_path: Path) -> None:
    exposure = Exposure.blank((20, 30))
    exposure.wcs = WCS(naxis=2)
    exposure.wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    exposure.metadata["LEVEL"] = 1.0
    write_exposure(tmp_path / "exposure.fits", exposure)
    first = read_exposure(tmp_path / "exposure.fits")
    assert first.wcs is not None
    first.metadata["LEVEL"] = 2.0
    first.wcs.wcs.crval = [10.0, 20.0]
    second = read_exposure(tmp_path / "exposure.fits")
    assert second.wcs is not None
    assert second.metadata["LEVEL"] == 1.0
    assert list(second.wcs.wcs.crval) == [0.0, 0.0]
