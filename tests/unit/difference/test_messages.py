"""What a user reads speaks of the images, never of a library's own functions."""

import warnings

import numpy as np
import pytest
from astropy.io import fits

from prompt_processing.difference.errors import DifferenceError
from prompt_processing.difference.find_psf import PsfSettings
from prompt_processing.difference.prepare import prepare
from prompt_processing.difference.reading.read import open_image
from prompt_processing.images import Mask
from prompt_processing.imaging.calibration.detection import detect
from prompt_processing.imaging.errors import DetectionError


def test_image_that_structure_covers_is_refused_without_a_word_of_sep():
    shape = (600, 600)
    structure = np.random.default_rng(1).normal(0, 300, shape).astype(np.float32)
    with pytest.raises(DetectionError, match="cannot be separated") as error:
        detect(structure + 500, np.ones(shape, np.float32), 3.0, 5.0, np.zeros(shape, bool))
    assert "pixstack" not in str(error.value)


def test_odd_headers_and_files_cause_no_warning_of_a_library(tmp_path, capfd):
    header = fits.Header()
    for key, value in {
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0, "CRVAL2": 20.0, "CRPIX1": 1.0,
        "CRPIX2": 1.0, "CDELT1": -1e-4, "CDELT2": 1e-4, "RADECSYS": "FK5", "EQUINOX": 2000.0, "BLANK": -1,
        "DATE-OBS": "2021-09-17 T10:25:28", "MJD-OBS": 55000.0, "A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-7,
        "CUNIT1": "degrees",
    }.items():  # fmt: skip
        header[key] = value
    path = tmp_path / "a.fits"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fits.writeto(path, np.random.default_rng(1).normal(300, 10, (50, 50)).astype(np.float32), header)
    content = path.read_bytes().replace(b"MJD-OBS =", b"MJD\xe4OBS =")
    path.write_bytes(content[: 2880 + 4 * 2500])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_image(path).on_sky
    assert capfd.readouterr() == ("", "")


def test_image_of_one_value_is_refused_with_it(tmp_path):
    fits.writeto(tmp_path / "a.fits", np.full((50, 60), 7.0))
    with pytest.raises(DifferenceError, match=r"a\.fits shows nothing: all of its pixels are 7\."):
        prepare(open_image(tmp_path / "a.fits"), cosmic_rays=False)


def test_image_too_small_for_a_subtraction_is_refused_with_its_size(tmp_path):
    fits.writeto(tmp_path / "a.fits", np.random.default_rng(1).normal(300, 10, (32, 60)))
    with pytest.raises(DifferenceError, match=r"a\.fits is 60 x 32 pixels: a subtraction needs at least"):
        prepare(open_image(tmp_path / "a.fits"), cosmic_rays=False)


def test_single_photons_are_no_cosmic_rays(tmp_path, caplog):
    fits.writeto(tmp_path / "a.fits", np.random.default_rng(1).poisson(0.2, (150, 150)).astype(np.int16))
    prepared = prepare(open_image(tmp_path / "a.fits"), cosmic_rays=True, psf=PsfSettings(seeing=5.0))
    assert prepared.cosmic_rays == 0
    assert not prepared.exposure.has(Mask.CR).any()
    assert "cosmic rays stay unmarked" in caplog.text
