import math

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from lsst.sphgeom import LonLat, UnitVector3d

from prompt_processing.instruments import detector_centre, detector_region, detector_wcs, load_camera


def offset_arcsec(camera, detector, ra, dec, rotation):
    """East and north of the boresight."""
    centre = SkyCoord(*detector_centre(camera, detector, ra, dec, rotation), unit="deg")
    east, north = SkyCoord(ra, dec, unit="deg").spherical_offsets_to(centre)
    return east.arcsec, north.arcsec


@pytest.mark.parametrize(
    ("detector", "first", "second"),
    # CRVAL1F and CRVAL2F of Segment10: the camera's own focal-plane coordinates of its pixel (0, 0).
    [
        ("R01_S01", 4126.0, 17527.0),
        ("R10_S20", 25276.0, 602.0),
        ("R12_S10", 21052.5, 26000.0),
        ("R22_S22", 37977.5, 34450.0),
    ],
)
def test_segments_lie_where_the_camera_says(detector, first, second):
    found = load_camera("LSSTCam").detector(detector)
    amplifier = found.amplifier("Segment10")
    # First data pixel of the readout, in the camera's frame: x and y change places, the origin is a corner.
    column, row = amplifier.serial_prescan + 1, 1
    theirs = np.array([second - column - 31750.5, first - row - 31750.5]) * 0.010
    pixel = np.array([amplifier.x0 + amplifier.columns - 1, amplifier.y0 + amplifier.rows - 1])
    ours = np.array([found.x_mm, found.y_mm]) + (pixel - np.array(found.centre)) * 0.010
    np.testing.assert_allclose(ours, theirs, atol=0.0051)


def test_hsc_agrees_with_the_wcs_in_its_header():
    header = WCS(naxis=2)
    header.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    header.wcs.crpix = [1024.5, 4395.167]
    header.wcs.crval = [320.749925, 0.500019444444]
    header.wcs.cd = [[0.0, 4.72222222222222e-05], [-4.7222222222222e-05, 0.0]]
    camera = load_camera("HSC")
    # INST-PA 0 is a rotation of 270 degrees.
    ours = detector_wcs(camera, camera.detector(50), 320.749925, 0.500019444444, 270.0)
    for pixel in [(0, 0), (2047, 0), (1023.5, 2087.5), (0, 4175), (2047, 4175)]:
        mine = SkyCoord(*ours.all_pix2world([pixel], 0)[0], unit="deg")
        theirs = SkyCoord(*header.all_pix2world([pixel], 0)[0], unit="deg")
        # The header's scale is a round 0.17 arcsec, and the detector is turned by 0.05 degrees.
        assert mine.separation(theirs).arcsec < 7


@pytest.mark.parametrize(("rotation", "east", "north"), [(0, -1, 0), (90, 0, 1), (180, 1, 0), (270, 0, -1)])
def test_focal_plane_x_points_west_when_y_points_north(rotation, east, north):
    camera = load_camera("LSSTCam")
    # R22_S12 lies at +x of the centre.
    found = offset_arcsec(camera, camera.detector("R22_S12"), 30.0, -20.0, rotation)
    expected = 42.25 * camera.plate_scale_arcsec_per_mm
    np.testing.assert_allclose(found, (east * expected, north * expected), atol=0.1)


def test_latiss_is_flipped_in_x():
    def x_axis(name):
        camera = load_camera(name)
        return detector_wcs(camera, next(iter(camera.detectors.values())), 30.0, 10.0, 0.0).wcs.cd[0, 0]

    assert x_axis("LATISS") > 0 > x_axis("LSSTCam")


def test_rotation_is_that_of_focal_plane_y_east_of_north():
    camera = load_camera("LSSTCam")
    east, north = offset_arcsec(camera, camera.detector("R22_S21"), 120.0, 45.0, 30.0)
    assert math.degrees(math.atan2(east, north)) == pytest.approx(30.0, abs=0.01)


def test_distortion_is_that_of_the_optics():
    camera = load_camera("LSSTCam")
    detector = camera.detector("R01_S00")
    wcs = detector_wcs(camera, detector, 0.0, 0.0, 0.0)
    x, y = detector.centre
    position = SkyCoord(*wcs.all_pix2world([[x, y]], 0)[0], unit="deg")
    r = math.hypot(detector.x_mm, detector.y_mm)
    plane = r - 8.33713991e-09 * r**3 - 1.41389858e-15 * r**5
    angle = math.degrees(math.atan(math.radians(plane * 20.005867576692737 / 3600)))
    assert position.separation(SkyCoord(0, 0, unit="deg")).deg == pytest.approx(angle, abs=1e-9)


@pytest.mark.parametrize(("name", "number"), [("LSSTCam", 0), ("LSSTCam", 191), ("LATISS", 0), ("HSC", 101)])
def test_sky_leads_back_to_the_pixel(name, number):
    camera = load_camera(name)
    detector = camera.detector(number)
    wcs = detector_wcs(camera, detector, 359.9, -89.0 if name == "LSSTCam" else 20.0, 77.0)
    pixels = np.random.default_rng(1).uniform(0, 2000, (200, 2))
    np.testing.assert_allclose(wcs.all_world2pix(wcs.all_pix2world(pixels, 0), 0), pixels, atol=1e-5)


def test_inverse_polynomial_serves_readers_that_use_it():
    camera = load_camera("LSSTCam")
    wcs = detector_wcs(camera, camera.detector(0), 10.0, -30.0, 12.0)
    pixels = np.array([[0.0, 0.0], [4071.0, 3999.0]])
    plane = wcs.sip_pix2foc(pixels, 0)
    np.testing.assert_allclose(wcs.sip_foc2pix(plane, 0), pixels, atol=0.02)
    header = wcs.to_header(relax=True)
    assert header["CTYPE1"] == "RA---TAN-SIP"
    np.testing.assert_allclose(
        WCS(header).all_pix2world(pixels, 0), wcs.all_pix2world(pixels, 0), rtol=0, atol=1e-9
    )


def test_region_holds_the_detector_and_no_more():
    camera = load_camera("LSSTCam")
    detector = camera.detector(94)
    region = detector_region(camera, detector, 150.0, 2.0, 33.0)
    wcs = detector_wcs(camera, detector, 150.0, 2.0, 33.0)

    def within(x, y):
        return region.contains(UnitVector3d(LonLat.fromDegrees(*wcs.all_pix2world([[x, y]], 0)[0])))

    assert within(0, 0)
    assert within(4095, 4003)
    assert within(*detector.centre)
    assert not within(-1, 2000)
    assert not within(2000, 4004)
    side = 4096 * 0.2000587 / 3600 * (4004 * 0.2000587 / 3600)
    # Area by Girard's theorem would be the same to 1e-5: the detector is small.
    corners = [np.array([v.x(), v.y(), v.z()]) for v in region.getVertices()]
    area = sum(
        0.5 * np.linalg.norm(np.cross(corners[i] - corners[0], corners[i + 1] - corners[0])) for i in (1, 2)
    )
    assert math.degrees(math.degrees(area)) == pytest.approx(side, rel=1e-4)


@pytest.mark.parametrize(("ra", "dec"), [(0.0, 0.0), (359.95, 10.0), (80.0, 89.9), (80.0, -89.9)])
def test_padding_widens_the_region_everywhere(ra, dec):
    camera = load_camera("LSSTCam")
    detector = camera.detector(94)
    narrow = detector_region(camera, detector, ra, dec, 0.0)
    wide = detector_region(camera, detector, ra, dec, 0.0, padding_arcsec=30.0)
    assert wide.contains(narrow)
    growth = wide.getBoundingCircle().getOpeningAngle() - narrow.getBoundingCircle().getOpeningAngle()
    assert growth.asDegrees() * 3600 == pytest.approx(30 * math.sqrt(2), rel=0.02)


def test_hsc_region_allows_for_distortion_that_is_not_modelled():
    camera = load_camera("HSC")
    centre, edge = camera.detector(50), camera.detector(0)
    grown = [
        detector_region(camera, detector, 0.0, 0.0, 0.0).getBoundingCircle().getOpeningAngle().asDegrees()
        for detector in (centre, edge)
    ]
    # 1 per cent of the difference of their field radii, on the diagonal.
    assert (grown[1] - grown[0]) * 3600 == pytest.approx(
        0.01 * (244.1 - 34.9) * 11.2 * math.sqrt(2), rel=0.05
    )


def test_miniature_keeps_the_centre():
    camera = load_camera("LSSTCam")
    small = camera.miniature(30, 40)
    for number in (0, 94, 191):
        np.testing.assert_allclose(
            detector_centre(camera, camera.detector(number), 10.0, -30.0, 123.0),
            detector_centre(small, small.detector(number), 10.0, -30.0, 123.0),
            atol=1e-10,
        )
