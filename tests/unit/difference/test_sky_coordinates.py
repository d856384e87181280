"""Whatever form a WCS has, coordinates are right ascension and declination, or the reason is given."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS, Sip
from sky_headers import (
    CENTRE,
    SCALE,
    SHAPE,
    assert_same_sky,
    distorted,
    opened,
    pixels,
    tangential,
    true_sky,
    without_cd,
)

from prompt_processing.difference.reading.read import open_image


def spell_pc(header):
    for (i, j), value in np.ndenumerate(without_cd(header) / SCALE):
        header[f"PC{i + 1}_{j + 1}"] = value
    header["CDELT1"] = header["CDELT2"] = SCALE


def spell_old_pc(header):
    spell_pc(header)
    for i in (1, 2):
        for j in (1, 2):
            header[f"PC{i:03d}{j:03d}"] = header.pop(f"PC{i}_{j}")


def spell_rotation(header):
    without_cd(header)
    header["CDELT1"], header["CDELT2"], header["CROTA2"] = -SCALE, SCALE, -25.0


def spell_rotation_beside_cd(header):
    header["CDELT1"], header["CDELT2"], header["CROTA2"], header["CROTA1"] = 9.0, 9.0, 11.0, 11.0


def spell_strings(header):
    for key in list(header):
        header[key] = str(header[key])


def spell_sexagesimal(header):
    header["CRVAL1"], header["CRVAL2"] = "10:00:00.0", "+02 12 00"


def spell_pixel_size_of_a_plate(header):
    header["XPIXELSZ"] = header["YPIXELSZ"] = 9.0


def spell_swapped(header):
    header["CTYPE1"], header["CTYPE2"] = header["CTYPE2"], header["CTYPE1"]
    header["CRVAL1"], header["CRVAL2"] = header["CRVAL2"], header["CRVAL1"]
    for j in (1, 2):
        header[f"CD1_{j}"], header[f"CD2_{j}"] = header[f"CD2_{j}"], header[f"CD1_{j}"]


def spell_sip_without_coefficients(header):
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"


def spell_units_in_full(header):
    header["CUNIT1"] = header["CUNIT2"] = "degrees"


def spell_epoch_of_observation(header):
    header["EPOCH"] = 2021.7
    header["EQUINOX"] = "J2000.0"


def spell_bad_date(header):
    header["DATE-OBS"] = "2021-09-17 T10:25:28"


@pytest.mark.parametrize(
    "spell",
    [
        spell_pc, spell_old_pc, spell_rotation, spell_rotation_beside_cd, spell_strings, spell_sexagesimal,
        spell_pixel_size_of_a_plate, spell_swapped, spell_sip_without_coefficients, spell_units_in_full,
        spell_epoch_of_observation, spell_bad_date,
    ],
)  # fmt: skip
def test_every_spelling_of_a_tangential_projection_is_read(tmp_path, spell, caplog):
    header = tangential()
    spell(header)
    image = opened(tmp_path, header)
    assert_same_sky(image.exposure.wcs, true_sky())
    assert not caplog.records


@pytest.mark.parametrize(
    ("frame", "names"),
    [
        ("galactic", ("GLON", "GLAT")),
        ("barycentricmeanecliptic", ("ELON", "ELAT")),
        ("fk5", ("RA", "DEC")),
        ("fk4", ("RA", "DEC")),
    ],
)
def test_other_frames_become_icrs(tmp_path, frame, names):
    there = SkyCoord(*CENTRE, unit="deg")
    options = {"fk5": {"equinox": "J2021.7"}, "fk4": {"equinox": "B1950"}}.get(frame, {})
    from astropy.coordinates import FK4, FK5

    system = {"fk5": FK5, "fk4": FK4}[frame](**options) if options else frame
    moved = there.transform_to(system)
    header = tangential(
        ctype=(f"{names[0]:-<4}-TAN", f"{names[1]:-<4}-TAN"),
        crval=(moved.spherical.lon.deg, moved.spherical.lat.deg),
    )
    if options:
        header["RADESYS"], header["EQUINOX"] = frame.upper(), 2021.7 if frame == "fk5" else 1950.0
    lon, lat = WCS(header).all_pix2world(pixels(), 0).T
    expected = SkyCoord(lon, lat, unit="deg", frame=system).icrs
    image = opened(tmp_path, header)
    assert image.on_sky
    assert_same_sky(image.exposure.wcs, np.column_stack([expected.ra.deg, expected.dec.deg]))
    assert SkyCoord(*image.exposure.wcs.wcs.crval, unit="deg").separation(there) < 30 * u.arcsec


@pytest.mark.parametrize("projection", ["SIN", "STG", "ZEA", "ARC", "CAR"])
def test_other_projections_become_tangential(tmp_path, projection):
    # Near the equator: a plate carree about its own reference point.
    header = tangential(ctype=(f"RA---{projection}", f"DEC--{projection}"), crval=(150.0, 0.0))
    expected = np.asarray(WCS(header).all_pix2world(pixels(), 0))
    assert_same_sky(opened(tmp_path, header).exposure.wcs, expected)


def test_sip_is_kept_as_it_is(tmp_path):
    image = opened(tmp_path, distorted())
    assert image.exposure.wcs.sip is not None
    assert_same_sky(image.exposure.wcs, true_sky(distorted()), 0.01)


def test_sip_without_its_suffix_is_applied(tmp_path):
    header = distorted()
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
    assert_same_sky(opened(tmp_path, header).exposure.wcs, true_sky(distorted()), 0.01)


def test_wrong_inverse_of_sip_does_no_harm(tmp_path):
    header = distorted()
    header["AP_ORDER"] = header["BP_ORDER"] = 2
    header["AP_1_0"] = header["BP_0_1"] = 3.0
    assert_same_sky(opened(tmp_path, header).exposure.wcs, true_sky(distorted()), 0.01)


def test_polynomials_of_scamp_are_applied(tmp_path):
    header = tangential(ctype=("RA---TPV", "DEC--TPV"))
    header["PV1_0"], header["PV1_1"], header["PV1_2"], header["PV1_4"] = 1e-5, 1.001, 2e-4, 0.8
    header["PV2_1"], header["PV2_5"] = 0.999, -0.5
    expected = true_sky(header)
    assert SkyCoord(*expected.T, unit="deg").separation(SkyCoord(*true_sky().T, unit="deg")).mas.max() > 20
    assert_same_sky(opened(tmp_path, header).exposure.wcs, expected)


def test_reference_point_that_pixinsight_writes_is_no_distortion(tmp_path):
    header = tangential()
    header["PV1_1"], header["PV1_2"], header["LONPOLE"], header["LATPOLE"] = 0.0, 90.0, 180.0, 2.2
    assert_same_sky(opened(tmp_path, header).exposure.wcs, true_sky())


def test_distortion_by_a_table_is_applied_and_written_for_programs_without_the_table(tmp_path):
    header = tangential()
    x = np.linspace(0, 1, 9)
    table = (0.8 * x[np.newaxis] ** 2 + 0.3 * x[:, np.newaxis]).astype(np.float32)
    extensions = []
    for axis in (1, 2):
        header[f"CPDIS{axis}"] = "LOOKUP"
        for field, value in (("EXTVER", axis), ("NAXES", 2), ("AXIS.1", 1), ("AXIS.2", 2)):
            header.append(fits.Card(f"DP{axis}", f"{field}: {float(value)}"))
        hdu = fits.ImageHDU(table * axis, name="WCSDVARR")
        hdu.ver = axis
        for keyword, value in (("CRPIX", 1.0), ("CRVAL", 1.0), ("CDELT", 10.0)):
            hdu.header[f"{keyword}1"] = hdu.header[f"{keyword}2"] = value
        extensions.append(hdu)
    whole = fits.HDUList([fits.PrimaryHDU(np.zeros(SHAPE, np.float32), header), *extensions])
    expected = np.asarray(WCS(header, whole).all_pix2world(pixels(), 0))
    assert SkyCoord(*expected.T, unit="deg").separation(SkyCoord(*true_sky().T, unit="deg")).mas.max() > 100
    image = opened(tmp_path, header, extensions=extensions)
    assert_same_sky(image.exposure.wcs, expected, 10.0)
    assert not any(key.startswith("CPDIS") for key in image.header)
    assert_same_sky(WCS(image.header), expected, 10.0)


def wat(header, axis, text):
    for number, start in enumerate(range(0, len(text), 68), 1):
        header[f"WAT{axis}_{number:03d}"] = text[start : start + 68]


def test_tnx_is_applied(tmp_path):
    header = tangential(ctype=("RA---TNX", "DEC--TNX"))
    # Chebyshev terms of 3 x 2 orders within half a degree; and a polynomial without high cross terms.
    wat(header, 1, 'wtype=tnx axtype=ra lngcor = "1. 3. 2. 1. -0.5 0.5 -0.5 0.5 0.001 0.0002 0. 0. 0. 0.003"')
    wat(header, 2, 'wtype=tnx axtype=dec latcor = "3. 2. 2. 2. -0.5 0.5 -0.5 0.5 0. 0.004 -0.002"')
    crpix = np.array([header["CRPIX1"], header["CRPIX2"]])
    cd = np.array([[header[f"CD{i}_{j}"] for j in (1, 2)] for i in (1, 2)])
    xi, eta = ((pixels() + 1 - crpix) @ cd.T).T
    x, y = 2 * xi, 2 * eta
    plane = np.column_stack(
        [xi + 0.001 + 0.0002 * x + 0.003 * (2 * x * x - 1) * y, eta + 0.004 * xi - 0.002 * eta]
    )
    plain = tangential()
    undo = (np.linalg.inv(cd) @ plane.T).T + crpix - 1
    image = opened(tmp_path, header)
    assert_same_sky(image.exposure.wcs, np.asarray(WCS(plain).all_pix2world(undo, 0)))
    assert_same_sky(WCS(image.header), np.asarray(WCS(plain).all_pix2world(undo, 0)))


def test_zpx_is_applied(tmp_path):
    header = tangential(ctype=("RA---ZPX", "DEC--ZPX"))
    wat(header, 1, "wtype=zpx axtype=ra projp1=1.0 projp3=340.0")
    wat(header, 2, "wtype=zpx axtype=dec projp1=1.0 projp3=340.0")
    like = tangential(ctype=("RA---ZPN", "DEC--ZPN"))
    like["PV2_1"], like["PV2_3"] = 1.0, 340.0
    assert_same_sky(opened(tmp_path, header).exposure.wcs, true_sky(like))


def test_wcs_of_a_cube_of_one_plane_is_that_of_its_long_axes(tmp_path):
    header = tangential()
    header["CTYPE3"], header["CRVAL3"], header["CRPIX3"], header["CD3_3"] = "FREQ", 1.4e9, 1.0, 1e6
    image = opened(tmp_path, header, np.ones((1, *SHAPE), np.float32) * np.arange(80))
    assert_same_sky(image.exposure.wcs, true_sky())
    assert "CTYPE3" not in image.header
    assert_same_sky(WCS(image.header), true_sky())


def test_wcs_of_the_image_is_not_mixed_with_that_of_the_primary_header(tmp_path):
    primary = fits.Header(
        {"CTYPE1": "RA---TAN-SIP", "CRVAL1": 10.0, "PC1_1": 3.0, "CDELT1": 1.0, "A_ORDER": 3}
    )
    data = np.random.default_rng(3).normal(100, 5, SHAPE).astype(np.float32)
    fits.HDUList([fits.PrimaryHDU(header=primary), fits.ImageHDU(data, tangential(), "SCI")]).writeto(
        tmp_path / "a.fits"
    )
    assert_same_sky(open_image(tmp_path / "a.fits").exposure.wcs, true_sky())


def test_sip_of_our_own_outputs_is_read_again(tmp_path):
    wcs = WCS(tangential(ctype=("RA---TAN-SIP", "DEC--TAN-SIP")))
    a = np.zeros((3, 3))
    a[2, 0] = 1e-5
    wcs.sip = Sip(a, a, None, None, wcs.wcs.crpix)
    assert_same_sky(
        opened(tmp_path, wcs.to_header(relax=True)).exposure.wcs, np.asarray(wcs.all_pix2world(pixels(), 0))
    )


@pytest.mark.parametrize("centre", [(0.001, -30.0), (120.0, 89.995), (33.0, -89.999)])
def test_fields_at_the_poles_and_at_the_origin_of_right_ascension_are_read(tmp_path, centre):
    header = tangential(ctype=("RA---SIN", "DEC--SIN"), crval=centre)
    assert_same_sky(opened(tmp_path, header).exposure.wcs, true_sky(header))


def test_unknown_system_of_coordinates_is_assumed_to_be_icrs_aloud(tmp_path, caplog):
    header = tangential()
    header["RADESYS"] = "GAPPT"
    assert_same_sky(opened(tmp_path, header).exposure.wcs, true_sky())
    assert "RADESYS = 'GAPPT' is unknown, ICRS is assumed" in caplog.text


def test_pixel_coordinates_of_iraf_are_no_wcs_and_no_fault(tmp_path, caplog):
    header = fits.Header({"CRVAL1": 0.0, "CRVAL2": 0.0, "CD1_1": 1.0, "CD2_2": 1.0, "LTM1_1": 1.0})
    assert not opened(tmp_path, header).on_sky
    header["CTYPE1"] = header["CTYPE2"] = "LINEAR"
    assert not opened(tmp_path, header).on_sky
    assert not caplog.records
