"""A WCS that cannot be used is reported with its reason, and never replaced."""

import pytest
from astropy.io import fits
from sky_headers import distorted, opened, tangential, without_cd


def lacks_scale(header):
    without_cd(header)


def lacks_any_size(header):
    without_cd(header)
    header["CDELT1"] = header["CDELT2"] = 0.0


def has_a_pixel_of_a_degree(header):
    without_cd(header)
    header["CDELT1"] = header["CDELT2"] = 10.0


def lacks_reference_value(header):
    del header["CRVAL1"]


def lacks_reference_pixel(header):
    del header["CRPIX2"]


def has_words_for_numbers(header):
    header["CRVAL1"] = "unknown"


def has_half_a_sip(header):
    header["CTYPE1"], header["CTYPE2"], header["A_ORDER"], header["A_2_0"] = (
        "RA---TAN-SIP",
        "DEC--TAN-SIP",
        2,
        1e-5,
    )


def folds_over(header):
    header.update(distorted(0.2))


def has_one_axis_twice(header):
    header["CTYPE2"] = "RA---TAN"


def has_no_projection(header):
    header["CTYPE1"], header["CTYPE2"] = "RA", "DEC"


def has_unknown_projection(header):
    header["CTYPE1"], header["CTYPE2"] = "RA---XYZ", "DEC--XYZ"


def lacks_the_strings_of_tnx(header):
    header["CTYPE1"], header["CTYPE2"] = "RA---TNX", "DEC--TNX"


def lacks_types(header):
    del header["CTYPE1"], header["CTYPE2"]


def has_an_impossible_declination(header):
    header["CRVAL2"] = 102.2


def has_an_unknown_unit(header):
    header["CUNIT1"] = "degreees"


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lacks_scale, "no scale"),
        (lacks_any_size, "scale is zero"),
        (has_a_pixel_of_a_degree, "a pixel of 10 degrees"),
        (lacks_reference_value, "CRVAL1 is missing"),
        (lacks_reference_pixel, "CRPIX2 is missing"),
        (has_words_for_numbers, "CRVAL1 = 'unknown' is not a number"),
        (has_half_a_sip, "A_ORDER or B_ORDER"),
        (folds_over, "distortion cannot be inverted"),
        (has_one_axis_twice, "not a pair of sky coordinates"),
        (has_no_projection, "does not name a projection"),
        (has_unknown_projection, "XYZ"),
        (lacks_the_strings_of_tnx, "TNX distortion cannot be used: WAT1_001 is missing"),
        (has_an_impossible_declination, "CRVAL2 = 102.2 is not a latitude"),
        (has_an_unknown_unit, "CUNIT1 = 'degreees' is not a unit of angle"),
        (lacks_types, "CTYPE1 and CTYPE2 are missing"),
    ],
)
def test_unusable_wcs_is_reported_and_never_replaced(tmp_path, spoil, reason, caplog):
    header = tangential()
    spoil(header)
    image = opened(tmp_path, header)
    assert image.exposure.wcs is None
    assert not image.on_sky
    assert [reason in record.message for record in caplog.records] == [True], caplog.text
    assert ".c" not in caplog.text


def test_image_without_any_wcs_is_read_without_a_word(tmp_path, caplog):
    assert not opened(tmp_path, fits.Header()).on_sky
    assert not caplog.records
