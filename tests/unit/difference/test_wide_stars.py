"""Images whose stars are too wide for the fits are binned, and results are in the files' pixels."""

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from prompt_processing.difference import difference_images
from prompt_processing.difference.binning import binned_image, binned_wcs
from prompt_processing.difference.difference import _require_credible
from prompt_processing.difference.errors import DifferenceError, NoStarsError
from prompt_processing.difference.reading.read import OpenedImage
from prompt_processing.images import Exposure, Mask

SEEING = 17.0
CHANGES = ((250.3, 610.8, 9000.0), (701.0, 333.4, -9000.0))


def wcs(shape, pixel=1e-4):
    out = WCS(naxis=2)
    out.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    out.wcs.crval = [30.0, -20.0]
    out.wcs.crpix = [shape[1] / 2 + 3, shape[0] / 2 - 7]
    out.wcs.cd = pixel * np.array([[-0.8, 0.6], [0.6, 0.8]])
    return out


def frame(stars, seeing, seed, shape=(960, 960)):
    rng = np.random.default_rng(seed)
    image = np.full(shape, 100.0)
    y, x = np.arange(shape[0]), np.arange(shape[1])
    sigma = seeing / 2.3548
    for px, py, flux in stars:
        profile = [np.exp(-0.5 * ((axis - at) / sigma) ** 2) for axis, at in ((y, py), (x, px))]
        image += flux / (2 * np.pi * sigma**2) * np.outer(*profile)
    return rng.poisson(image).astype(np.float32)


@pytest.fixture(scope="module")
def wide_pair(tmp_path_factory):
    """Return a science image and a template with stars 17 and 15 pixels wide, and two changes."""
    folder = tmp_path_factory.mktemp("wide")
    rng = np.random.default_rng(5)
    n = 90
    stars = list(zip(*rng.uniform(20, 940, (2, n)), 1e4 * 10 ** rng.uniform(0, 1.3, n), strict=True))
    bright = [change for change in CHANGES if change[2] > 0]
    faded = [(x, y, -flux) for x, y, flux in CHANGES if flux < 0]
    for name, sources, seeing, seed in (
        ("science", stars + bright, SEEING, 1),
        ("template", stars + faded, 15.0, 2),
    ):
        header = wcs((960, 960)).to_header()
        header["GAIN"] = 1.0
        header["DATASEC"] = "[1:960,1:960]"
        fits.PrimaryHDU(frame(sources, seeing, seed), header).writeto(folder / f"{name}.fits")
    return folder / "science.fits", folder / "template.fits"


def test_changes_among_wide_stars_are_found_in_the_files_pixels(wide_pair, tmp_path):
    result = difference_images(*wide_pair)
    assert result.summary["binning"] == 3
    assert result.summary["scienceFwhm"] == pytest.approx(SEEING, rel=0.06)
    assert result.summary["scienceSky"] == pytest.approx(100, abs=1)
    assert result.summary["scienceNoise"] == pytest.approx(10, rel=0.05)
    sources = result.sources
    for x, y, flux in CHANGES:
        row = sources[int(np.argmin(np.hypot(sources["x"] - x, sources["y"] - y)))]
        assert np.hypot(row["x"] - x, row["y"] - y) < 1
        assert row["psfFlux"] == pytest.approx(flux, rel=0.06)
        ra, dec = wcs((960, 960)).all_pix2world(x, y, 0)
        assert row["ra"] == pytest.approx(float(ra), abs=1e-4)
        assert row["dec"] == pytest.approx(float(dec), abs=1e-4)
    assert len(sources) <= 4
    result.write(tmp_path / "d.fits", picture=tmp_path / "d.png")
    with fits.open(tmp_path / "d.fits") as hdus:
        assert hdus[0].header["BINNING"] == 3
        header = hdus["DIFFERENCE"].header
        assert "DATASEC" not in header
        at = WCS(header).all_world2pix(*wcs((960, 960)).all_pix2world(250.3, 610.8, 0), 0)
        assert np.allclose(at, [(250.3 - 1) / 3, (610.8 - 1) / 3], atol=0.01)


def test_binned_images_without_common_stars_are_refused_with_the_seeing(tmp_path):
    rng = np.random.default_rng(6)
    for name in ("science", "template"):
        stars = list(zip(*rng.uniform(20, 460, (2, 25)), np.full(25, 3e4), strict=True))
        header = wcs((480, 480)).to_header()
        fits.PrimaryHDU(frame(stars, SEEING, 1, (480, 480)), header).writeto(tmp_path / f"{name}.fits")
    with pytest.raises(NoStarsError, match=r"1\d\.\d pixels wide \(FWHM\).*binned by 3"):
        difference_images(tmp_path / "science.fits", tmp_path / "template.fits")


def test_binning_keeps_fluxes_beside_missing_pixels():
    image = np.full((8, 8), 5.0, np.float32)
    mask = np.zeros((8, 8), np.int32)
    mask[0, :2], image[0, :2] = int(Mask.NO_DATA), 0
    mask[4:8, 4:7] = int(Mask.BAD)
    mask[6, 1] = int(Mask.SAT)
    exposure = Exposure(image, mask, np.full((8, 8), 2.0, np.float32))
    binned = binned_image(OpenedImage("a", exposure, True, 1.5, 4.0, 9.0, fits.Header()), 4)
    assert binned.exposure.image.tolist() == [[80, 80], [80, 0]]
    assert binned.exposure.variance[0].tolist() == pytest.approx([32 * 16 / 14, 32])
    assert binned.exposure.mask[1].tolist() == [int(Mask.SAT), int(Mask.NO_DATA)]
    assert (binned.gain, binned.read_noise, binned.saturation) == (1.5, 16.0, 144.0)


def test_binned_wcs_with_distortion_names_the_same_sky():
    fine = wcs((500, 400))
    fine.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
    header = fine.to_header(relax=True)
    header.update({"A_ORDER": 3, "B_ORDER": 3, "A_2_0": 2e-5, "A_1_2": 3e-8, "B_1_1": -1e-5, "B_0_3": 2e-8})
    fine = WCS(header)
    x, y = np.array([0.0, 30, 333]), np.array([10.0, 470, 222])
    coarse = binned_wcs(fine, 4).all_pix2world((x - 1.5) / 4, (y - 1.5) / 4, 0)
    assert np.allclose(coarse, fine.all_pix2world(x, y, 0), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("psf_stars", "left", "left_at_bright", "refused"),
    [
        (1, 2.2, 2.2, r"that of a single star.*2\.2 times"),
        (1, 1.2, 1.2, None),
        (5, 1.2, 3.6, r"that of 5 stars.*the brightest stars is 3\.6 times"),
        (5, 2.2, 2.2, None),
        (5, 1.2, np.nan, None),
        (12, 2.2, 3.6, None),
    ],
)
def test_psf_of_few_wide_stars_is_trusted_only_if_it_removes_stars(psf_stars, left, left_at_bright, refused):
    result = SimpleNamespace(
        summary={"sciencePsfStars": 12, "templatePsfStars": psf_stars},
        residuals=SimpleNamespace(stars=left, bright_stars=left_at_bright),
    )
    images = SimpleNamespace(name="a.fits"), SimpleNamespace(name="b.fits")
    with (
        nullcontext()
        if refused is None
        else pytest.raises(DifferenceError, match=rf"PSF of b\.fits is {refused}")
    ):
        _require_credible(result, images)
