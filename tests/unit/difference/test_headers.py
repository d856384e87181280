"""Gain, saturation and unit are read from headers as cameras and programs write them."""

import numpy as np
import pytest
from astropy.io import fits

from prompt_processing.difference.errors import UnusableOptionError
from prompt_processing.difference.reading.header import gain, image_unit, merged_header, number
from prompt_processing.difference.reading.read import ReadOptions, open_image
from prompt_processing.images import Mask

SHAPE = (60, 70)


def header(cards=(), **others):
    """Return a header; values may be pairs of value and comment."""
    made = fits.Header()
    for key, value in {**dict(cards), **others}.items():
        made[key] = value
    return made


def sky(level=300.0, noise=10.0):
    return np.random.default_rng(1).normal(level, noise, SHAPE).astype(np.float32)


def opened(path, cards, image=None):
    fits.writeto(path / "a.fits", sky() if image is None else image, fits.Header(cards), overwrite=True)
    return open_image(path / "a.fits")


@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        ({"GAIN": 1.9}, 1.9),
        ({"GAIN": "1.9 e-/ADU"}, 1.9),
        ({"GAIN": "1,9"}, 1.9),
        ({"GAIN": 0.0}, None),
        ({"GAIN": 0.0, "CCDGAIN": 2.5}, 2.5),
        ({"GAIN": "unknown"}, None),
        # N.I.N.A. and others: GAIN is the camera's setting.
        ({"GAIN": (120, "Sensor gain"), "EGAIN": (1.002, "[e-/ADU] Electrons per A/D unit")}, 1.002),
        ({"GAIN": (120, "Sensor gain")}, None),
        ({"GAIN": (10, "The gain set (if supported)")}, None),
        ({"GAIN": (110, "Sub Gain")}, None),
        ({"GAIN": (0.0, "gain or ISO depending on instrument")}, None),
        ({"GAIN": (6.42, "Pixel gain")}, 6.42),
        ({"GAIN": (54.0, "electrons/ADU")}, 54.0),
        ({"GAINA": 3.0, "GAINB": 4.0}, 3.5),
        # The unit of the pixels decides.
        ({"BUNIT": "electron", "GAIN": 1.5}, 1.0),
        ({"BUNIT": "electrons/s", "GAIN": 1.5, "EXPTIME": 300.0}, 300.0),
        ({"BUNIT": "ELECTRONS/S", "EXPTIME": "300."}, 300.0),
        ({"BUNIT": "adu/s", "GAIN": 1.5, "EXPTIME": 10.0}, 15.0),
        ({"BUNIT": "DN s-1", "GAIN": 1.5, "EXPTIME": 10.0}, 15.0),
        ({"BUNIT": "counts", "GAIN": 1.5}, 1.5),
        ({"BUNIT": "ADU", "GAIN": 1.5}, 1.5),
        ({"BUNIT": "electron/s", "GAIN": 1.5}, None),
        ({"BUNIT": "MJy/sr", "GAIN": 1.5, "EXPTIME": 10.0}, None),
        ({"BUNIT": "nanomaggy", "GAIN": 1.5}, None),
        ({"BUNIT": "erg/s/cm^2/A", "GAIN": 1.5}, None),
    ],
)
def test_gain_is_electrons_per_unit_of_the_pixels(cards, expected):
    assert gain(header(cards), "a.fits") == (None if expected is None else pytest.approx(expected))


def test_gain_that_is_a_setting_is_reported(caplog):
    assert gain(header(GAIN=(120, "Sensor gain")), "a.fits") is None
    assert caplog.messages == [
        "a.fits: GAIN = 120 is a setting of the camera, not electrons per unit, and is not used; "
        "set the electrons per unit with --gain."
    ]


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("", ("count", False)),
        ("e-/s", ("electron", True)),
        ("Jy/beam", ("flux", False)),
        ("electrons per sec", ("electron", True)),
    ],
)
def test_units_are_recognised(unit, expected):
    assert image_unit(fits.Header({"BUNIT": unit})) == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3.62    ", 3.62),
        ("-1.5E2x", -150.0),
        ("1.5D2", 150.0),
        (".5", 0.5),
        ("x", None),
        ("", None),
        (None, None),
        (True, 1.0),
    ],
)
def test_numbers_are_read_from_strings(text, value):
    assert number(text) == value


def test_numbers_as_text_dates_with_blanks_and_filters_as_numbers_do_no_harm(tmp_path):
    cards = {
        "DATE-OBS": "2021-09-17 T10:25:28",
        "FILTERS": 58,
        "EXPTIME": "60",
        "RDNOISE": "5.0",
        "GAIN": "1.9",
    }
    image = opened(tmp_path, cards)
    assert image.gain == 1.9
    assert image.read_noise == 5.0
    assert image.header["FILTERS"] == 58


def test_header_of_the_image_completes_that_of_the_file():
    primary = header(GAIN=0.0, OBJECT="M31", BZERO=32768, CHECKSUM="old", DATASUM="1", EXTEND=True, ZP=25.0)
    primary["HISTORY"] = "flat-fielded"
    own = header(GAIN=6.42, EXTNAME="SCI", EXTVER=2, BLANK=-1, ZEROPNT=25.1, DATAMAX=3.0, INHERIT=True)
    own["HIERARCH ESO DET GAIN LONG"] = 3
    merged = merged_header(primary, own)
    assert {key: merged[key] for key in merged if key != "HISTORY"} == {
        "GAIN": 6.42, "OBJECT": "M31", "ZP": 25.0, "ZEROPNT": 25.1, "ESO DET GAIN LONG": 3,
    }  # fmt: skip
    assert list(merged["HISTORY"]) == ["flat-fielded"]


def test_keywords_of_tile_compression_are_not_inherited():
    packed = header(ZIMAGE=True, ZCMPTYPE="RICE_1", ZNAXIS1=50, ZSCALE=1.0, ZEROPNT=25.0, ZD=41.0)
    assert list(merged_header(fits.Header(), packed)) == ["ZEROPNT", "ZD"]
    assert list(merged_header(fits.Header(), header(ZSCALE="log", ZEROPNT=25.0))) == ["ZSCALE", "ZEROPNT"]


def test_invalid_cards_are_left_out(tmp_path):
    fits.writeto(tmp_path / "a.fits", sky(), header(GAIN=2.0, AAAA=1, BBBB=2))
    content = (tmp_path / "a.fits").read_bytes()
    content = content.replace(b"AAAA    =                    1", b"AAAA    = 'never closed       ")
    content = content.replace(b"BBBB    =                    2", b"B\xe4BB    =                    2")
    (tmp_path / "a.fits").write_bytes(content)
    image = open_image(tmp_path / "a.fits")
    assert image.gain == 2.0
    assert "AAAA" not in image.header


def test_characters_that_no_header_may_have_do_no_harm(tmp_path):
    cards = {"OBSERVER": "XXXXXX", "COMMENT": "XXXXXX", "HISTORY": "XXXXXX", "GAIN": 2.0}
    fits.PrimaryHDU(sky(), fits.Header(cards)).writeto(tmp_path / "a.fits")
    content = (tmp_path / "a.fits").read_bytes().replace(b"XXXXXX", b"J\x00\xf6\t\n ")
    (tmp_path / "a.fits").write_bytes(content)
    header = open_image(tmp_path / "a.fits").header
    assert header["GAIN"] == 2.0
    assert str(header["COMMENT"]).startswith("J")


def test_saturated_pixels_are_found_by_header_option_or_clipping(tmp_path):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    image = sky() + 1e5 * np.exp(-((x - 30) ** 2 + (y - 20) ** 2) / 8).astype(np.float32)
    bright, clipped = image >= 50000, image >= 65535
    image = np.minimum(image, 65535)
    assert opened(tmp_path, {"SATURATE": 50000.0}, image).exposure.has(Mask.SAT).sum() == bright.sum()
    assert np.array_equal(opened(tmp_path, {}, image).exposure.has(Mask.SAT), clipped)
    options = ReadOptions(saturation=50000.0)
    assert np.array_equal(open_image(tmp_path / "a.fits", options).exposure.has(Mask.SAT), bright)


def test_saturation_below_the_sky_is_not_believed(tmp_path, caplog):
    assert not opened(tmp_path, {"SATURATE": 200.0}).exposure.has(Mask.SAT).any()
    assert "SATURATE = 200 is not used: 100% of the pixels are above" in caplog.text
    with pytest.raises(UnusableOptionError, match="--saturation 200: 100% of the pixels"):
        open_image(tmp_path / "a.fits", ReadOptions(saturation=200.0))


def test_asinh_scaling_of_pan_starrs_is_undone(tmp_path):
    flux = sky(0.0, 30.0)
    flux[29:32, 29:32] = 5000 + 40 * np.arange(9).reshape(3, 3)
    scaled = 2.5 / np.log(10) * np.arcsinh((flux - 3.0) / (2 * 150.0))
    image = opened(tmp_path, {"BSOFTEN": 150.0, "BOFFSET": 3.0}, scaled.astype(np.float32))
    assert image.exposure.image == pytest.approx(flux, abs=0.01)
    assert "BSOFTEN" not in image.header


@pytest.mark.parametrize("scale", [1e-28, 1e-18, 1e-3, 1.0, 1e9])
def test_pixels_are_the_same_in_every_unit(tmp_path, scale):
    values = sky().astype(np.float64)
    error = np.full(SHAPE, 10.0)
    hdus = [
        fits.PrimaryHDU(values * scale, header(GAIN=1.5 / scale)),
        fits.ImageHDU(error * scale, name="ERR"),
    ]
    fits.HDUList(hdus).writeto(tmp_path / "a.fits")
    image = open_image(tmp_path / "a.fits", ReadOptions(gain=1.5 / scale))
    unit = image.unit / scale
    assert image.exposure.image * unit == pytest.approx(values, rel=1e-5)
    assert 1 <= image.exposure.image.std() <= 1000
    assert image.exposure.variance * unit**2 == pytest.approx(error**2, rel=1e-5)
    assert image.gain / unit == pytest.approx(1.5)
