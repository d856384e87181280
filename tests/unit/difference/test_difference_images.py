"""Two FITS files of any camera give a difference that is noise, and a catalogue of what changed."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from scipy.spatial import cKDTree

from prompt_processing.cli.main import run
from prompt_processing.difference import DifferenceOptions, difference_images
from prompt_processing.difference.errors import (
    NoOverlapError,
    NoStarsError,
    NotAlignedError,
    UnreadableImageError,
)
from prompt_processing.difference.find_psf import PsfSettings
from prompt_processing.difference.reading.read import ReadOptions, open_image, split_extension
from prompt_processing.images import Mask
from prompt_processing.imaging.difference.residuals import measure_residuals
from prompt_processing.simulation.pair import simulate_pair


def found(sources, truth, shape, minimum_snr=12.0, radius=2.5, border=10):
    """Return which share of the injected sources off the border is in the catalogue, and of how many."""
    x, y = np.asarray(truth["x"]), np.asarray(truth["y"])
    inside = (x > border) & (y > border) & (x < shape[1] - border) & (y < shape[0] - border)
    inside &= np.abs(np.asarray(truth["snr"])) > minimum_snr
    wanted = truth[inside]
    tree = cKDTree(np.column_stack([sources["x"], sources["y"]]))
    distance, _ = tree.query(np.column_stack([wanted["x"], wanted["y"]]))
    return np.mean(distance < radius), len(wanted)


def unchanged(truth):
    """Return the stars that are the same in both images."""
    stars = truth[(truth["kind"] == "star") & (truth["delta_flux"] == 0) & (truth["flux"] > 3000)]
    return Table({"x": stars["x"], "y": stars["y"], "snr": stars["flux"]})


def test_turned_template_of_another_flux_scale_is_subtracted_to_noise(simulated, write_pair):
    files = write_pair(simulated, template_scale=0.4)
    result = difference_images(files.science, files.template)
    assert result.summary["resampled"]
    assert result.summary["fluxRatio"] == pytest.approx(2.5, rel=0.04)
    assert result.residuals.sky == pytest.approx(1, abs=0.03)
    # Some thirty stars: their few hundred pixels tell it to a tenth.
    residuals = measure_residuals(result.difference, unchanged(simulated.truth))
    assert residuals.stars == pytest.approx(1, abs=0.25)
    share, n = found(result.sources, simulated.truth, result.difference.shape)
    assert n >= 5
    assert share > 0.9
    assert (np.asarray(result.sources["reliability"]) <= 1).all()


def test_stars_that_changed_do_not_tell_the_flux_ratio(write_pair):
    pair = simulate_pair(33, (640, 640), 0.85, 0.75, density=1.5)
    files = write_pair(pair)
    steady = difference_images(files.science, files.template).summary
    rng = np.random.default_rng(3)
    for x, y in rng.uniform(40, 600, (30, 2)):
        # In both images, but each brighter in the science image by another factor.
        for exposure, flux in ((pair.science, rng.uniform(3500, 12_000)), (pair.template, 3000.0)):
            stamp, x0, y0 = exposure.psf.stamp_at(x, y)
            square = np.s_[y0 : y0 + stamp.shape[0], x0 : x0 + stamp.shape[1]]
            exposure.image[square] += (flux * stamp).astype(np.float32)
    files = write_pair(pair)
    changed = difference_images(files.science, files.template).summary
    assert changed["commonStars"] > steady["commonStars"] + 15
    assert changed["fluxRatio"] == pytest.approx(steady["fluxRatio"], rel=0.01)
    assert changed["kernelSum"] == pytest.approx(steady["kernelSum"], rel=0.015)


def test_aligned_images_without_wcs_are_left_on_their_pixels(same_grid, write_pair):
    files = write_pair(same_grid, wcs=False)
    result = difference_images(files.science, files.template)
    assert not result.summary["resampled"]
    assert "ra" not in result.sources.colnames
    assert result.sources["ixx"].unit.to_string() == "pix2"
    assert result.residuals.sky == pytest.approx(1, abs=0.03)
    share, _ = found(result.sources, same_grid.truth, result.difference.shape)
    assert share > 0.9


def test_changes_are_kept_where_the_psf_is_wrong(same_grid, write_pair, caplog):
    """A PSF half too wide is unlike all stars: a warning says so, and changes are not rejected for it."""
    files = write_pair(same_grid)
    rows, columns = np.mgrid[-30:31, -30:31]
    alpha = 1.5 * same_grid.science.psf.fwhm_at() / (2 * np.sqrt(2 ** (1 / 3) - 1))
    wide = PsfSettings(image=(1 + (rows**2 + columns**2) / alpha**2) ** -3.0)
    result = difference_images(files.science, files.template, DifferenceOptions(science_psf=wide))
    assert "is the named PSF that of this image?" in caplog.text
    share, number = found(result.sources, same_grid.truth, result.difference.shape, minimum_snr=20.0)
    assert number >= 10
    assert share > 0.8


def test_shift_that_the_headers_do_not_tell_is_found(same_grid, write_pair):
    files = write_pair(same_grid, wcs=False)
    with fits.open(files.template, mode="update") as hdus:
        hdus[0].data = np.roll(hdus[0].data, (7, -11), (0, 1))
    result = difference_images(files.science, files.template)
    assert result.summary["resampled"]
    assert result.summary["offsetPixels"] == pytest.approx(np.hypot(7, 11), abs=0.3)
    assert result.residuals.stars == pytest.approx(1, abs=0.25)


def test_output_is_plain_fits_and_catalogue_is_by_its_ending(simulated, write_pair, tmp_path):
    files = write_pair(simulated)
    picture, image = tmp_path / "d.png", tmp_path / "d.fits"
    for ending in ("parquet", "fits"):
        catalogue = tmp_path / f"c.{ending}"
        arguments = [str(files.science), str(files.template), "-q", "-o", str(image), "-c", str(catalogue)]
        assert run("difference", *arguments, "-p", str(picture)) == 0
        table = Table.read(catalogue)
        assert len(table) >= 5
        assert {"ra", "dec", "snr", "psfFlux", "isDipole", "reliability", "ixx"} <= set(table.colnames)
    assert picture.read_bytes().startswith(b"\x89PNG")
    with fits.open(image) as hdus:
        assert {hdu.name for hdu in hdus[1:]} == {"DIFFERENCE", "VARIANCE", "MASK", "PSF"}
        assert hdus["DIFFERENCE"].data.dtype == np.dtype(">f4")
        assert hdus[0].header["RESSKY"] == pytest.approx(1, abs=0.03)
        wcs = WCS(hdus["DIFFERENCE"].header)
        row = table[0]
        assert np.allclose(wcs.all_pix2world(row["x"], row["y"], 0), (row["ra"], row["dec"]), atol=1e-6)


def test_written_difference_can_be_opened_again_with_its_planes(simulated, write_pair, tmp_path):
    files = write_pair(simulated)
    result = difference_images(files.science, files.template)
    result.write(tmp_path / "d.fits")
    opened = open_image(tmp_path / "d.fits")
    assert opened.has_variance
    edge = result.difference.has(Mask.EDGE)
    assert np.array_equal(opened.exposure.has(Mask.EDGE), edge)


def test_planes_beside_the_image_are_used(simulated, write_pair, tmp_path):
    files = write_pair(simulated)
    with fits.open(files.science) as hdus:
        image, header = hdus[0].data, hdus[0].header
    bad = np.zeros(image.shape, np.uint8)
    bad[:, 100:104] = 1
    error = np.sqrt(np.maximum(image, 1) / 2.0)
    path = tmp_path / "planes.fits"
    fits.HDUList(
        [
            fits.PrimaryHDU(),
            fits.ImageHDU(image, header, "SCI"),
            fits.ImageHDU(error, name="ERR"),
            fits.ImageHDU(bad, name="DQ"),
        ]
    ).writeto(path)
    opened = open_image(f"{path}[SCI]")
    assert opened.has_variance
    assert opened.exposure.variance[5, 5] == pytest.approx(error[5, 5] ** 2, rel=1e-5)
    assert opened.exposure.has(Mask.BAD)[:, 100:104].all()
    assert not opened.exposure.has(Mask.BAD)[:, :100].any()
    result = difference_images(opened, files.template)
    assert result.difference.has(Mask.BAD)[:, 100:104].all()


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("a.fits", ("a.fits", None)),
        ("a.fits[SCI]", ("a.fits", "SCI")),
        ("a[1].fits[SCI,2]", ("a[1].fits", "SCI,2")),
    ],
)
def test_extension_is_told_from_the_file_name(path, parts):
    assert split_extension(path) == parts


def test_wrong_files_are_told_apart(tmp_path, capsys):
    with pytest.raises(UnreadableImageError, match="no such file"):
        open_image(tmp_path / "none.fits")
    (tmp_path / "text.fits").write_text("not an image")
    with pytest.raises(UnreadableImageError, match="not a FITS image"):
        open_image(tmp_path / "text.fits")
    two = fits.HDUList([fits.PrimaryHDU(), *(fits.ImageHDU(np.ones((9, 9)), name=n) for n in "AB")])
    two.writeto(tmp_path / "two.fits")
    with pytest.raises(UnreadableImageError, match="several images"):
        open_image(tmp_path / "two.fits")
    with pytest.raises(UnreadableImageError, match="no extension C"):
        open_image(f"{tmp_path}/two.fits[C]")
    assert open_image(f"{tmp_path}/two.fits[B]").exposure.shape == (9, 9)
    assert run("difference", str(tmp_path / "none.fits"), "x", "-q") == 1
    assert "no such file" in capsys.readouterr().err


def test_images_of_different_fields_are_refused(simulated, write_pair):
    files = write_pair(simulated)
    with fits.open(files.template, mode="update") as hdus:
        hdus[0].header["CRVAL1"] += 3
    with pytest.raises(NoOverlapError, match="do not overlap"):
        difference_images(files.science, files.template)


def test_images_whose_data_do_not_overlap_are_refused(same_grid, write_pair):
    files = write_pair(same_grid)
    for path, part in ((files.science, slice(0, 320)), (files.template, slice(320, 640))):
        with fits.open(path, mode="update") as hdus:
            hdus[0].data[:, part] = np.nan
    with pytest.raises(NoOverlapError, match="No part of the sky has data in both"):
        difference_images(files.science, files.template)


def test_stars_that_do_not_coincide_are_refused(simulated, write_pair):
    files = write_pair(simulated)
    with fits.open(files.template, mode="update") as hdus:
        hdus[0].data = np.ascontiguousarray(hdus[0].data[::-1])
    with pytest.raises(NotAlignedError, match=r"do not coincide.* --ignore-wcs"):
        difference_images(files.science, files.template)


def test_wrong_wcs_can_be_ignored(same_grid, write_pair):
    files = write_pair(same_grid)
    with fits.open(files.template, mode="update") as hdus:
        hdus[0].data = np.ascontiguousarray(hdus[0].data[::-1])
    result = difference_images(files.science, files.template, DifferenceOptions(ignore_wcs=True))
    assert result.summary["commonStars"] > 20
    assert "ra" not in result.sources.colnames


def test_image_without_stars_is_refused(simulated, write_pair):
    files = write_pair(simulated)
    with fits.open(files.science, mode="update") as hdus:
        hdus[0].data = np.random.default_rng(1).normal(800, 20, hdus[0].data.shape).astype(np.float32)
    with pytest.raises(NoStarsError, match=r"science\.fits"):
        difference_images(files.science, files.template)


def test_first_stars_of_an_empty_field_are_changes(tmp_path):
    rng = np.random.default_rng(6)
    rows, columns = np.indices((240, 260))
    places = [(60.0, 50.0), (190.0, 70.0), (90.0, 180.0), (205.0, 190.0), (130.0, 120.0)]
    stars = sum(300 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 7.0) for x, y in places)
    for name, light in (("science", stars), ("template", 0.0)):
        image = rng.normal(800, 20, rows.shape) + light
        fits.PrimaryHDU(image.astype(np.float32)).writeto(tmp_path / f"{name}.fits")
    result = difference_images(tmp_path / "science.fits", tmp_path / "template.fits")
    assert result.summary["kernelFromPsfs"]
    near = np.hypot(
        *(np.array(places)[:, np.newaxis] - np.column_stack([result.sources["x"], result.sources["y"]])).T
    )
    assert (near.min(axis=0) < 1).all()


def test_other_shape_without_wcs_is_refused_if_stars_are_others(same_grid, simulated, write_pair, tmp_path):
    other = write_pair(simulated, wcs=False).template.rename(tmp_path / "other.fits")
    files = write_pair(same_grid, wcs=False)
    with pytest.raises(NotAlignedError, match="No WCS"):
        difference_images(files.science, other)


@pytest.mark.parametrize("change", [lambda a: a[:-3, 70:], lambda a: a[::-1], lambda a: a.T[:, ::-1]])
def test_frames_without_wcs_are_laid_on_each_other_by_their_stars(same_grid, write_pair, change):
    files = write_pair(same_grid, wcs=False)
    with fits.open(files.template, mode="update") as hdus:
        hdus[0].data = np.ascontiguousarray(change(hdus[0].data))
    result = difference_images(files.science, files.template)
    assert result.summary["alignmentRmsPixels"] < 0.35
    assert result.residuals.sky == pytest.approx(1, abs=0.04)
    share, n = found(result.sources, same_grid.truth, result.difference.shape, border=80)
    assert n >= 3
    assert share > 0.85


def test_image_minus_itself_is_nothing(same_grid, write_pair):
    files = write_pair(same_grid)
    result = difference_images(files.science, files.science)
    usable = np.isfinite(result.difference.image)
    # What is left is the rounding of the transforms.
    ratio = result.difference.image[usable] / np.sqrt(result.difference.variance[usable])
    assert np.abs(ratio).max() < 1e-3
    assert result.summary["kernelSum"] == pytest.approx(1)
    assert not len(result.sources)
    assert not len(result.rejected)


def test_unknown_psf_is_refused_with_what_was_measured_and_what_helps(tmp_path):
    rng = np.random.default_rng(3)
    for name in ("science", "template"):
        image = rng.normal(800, 20, (200, 220))
        image[rng.integers(0, 200, 30), rng.integers(0, 220, 30)] += 3000
        fits.PrimaryHDU(image.astype(np.float32)).writeto(tmp_path / f"{name}.fits")
    with pytest.raises(NoStarsError, match=r"\d+ are as sharp as cosmic rays.*--seeing.*--psf-stars.*--psf"):
        difference_images(tmp_path / "science.fits", tmp_path / "template.fits")


def test_named_seeing_stands_for_stars(same_grid, write_pair):
    files = write_pair(same_grid)
    measured = difference_images(files.science, files.template).summary
    seeing = float(measured["scienceFwhm"])
    options = DifferenceOptions(science_psf=PsfSettings(seeing=seeing))
    summary = difference_images(files.science, files.template, options).summary
    assert summary["scienceFwhm"] == pytest.approx(seeing, rel=0.03)


def test_saturated_pixels_and_uncovered_borders_are_masked(tmp_path):
    image = np.random.default_rng(2).normal(500, 9, (60, 70)).astype(np.float32)
    image[30:33, 30:33] = 65535
    image[:10] = 0
    fits.PrimaryHDU(image).writeto(tmp_path / "a.fits")
    mask = open_image(tmp_path / "a.fits").exposure
    assert mask.has(Mask.SAT).sum() == 9
    assert mask.has(Mask.NO_DATA)[:10].all()
    assert not mask.has(Mask.NO_DATA)[10:].any()
    lower = open_image(tmp_path / "a.fits", ReadOptions(saturation=520.0))
    assert lower.exposure.has(Mask.SAT).sum() > 20


def test_progress_tells_each_step(same_grid, write_pair):
    files = write_pair(same_grid, wcs=False)
    steps = []
    difference_images(files.science, files.template, DifferenceOptions(threshold=8), progress=steps.append)
    assert len(steps) == 6
