"""Raws of cameras that only their folders describe, in the layouts of the real files."""

from pathlib import Path

import numpy as np
import pytest
from astro_metadata_translator import ObservationInfo
from astro_metadata_translator.translators import DecamTranslator
from astropy.io import fits
from astropy.time import Time
from camera_files import DECAM_PRIMARY, MAXIM_HEADER, write_decam, write_single

from prompt_processing.imaging.isr.isr import run_isr
from prompt_processing.instruments import (
    HeaderError,
    RawFileError,
    RawFrame,
    RawKey,
    Segment,
    detector_wcs,
    exposure_dimension_record_fields,
    format_raw_key,
    load_camera,
    load_instrument,
    read_detector_headers,
    read_header,
    read_raw,
    translate,
)
from prompt_processing.instruments.headers import _OPTIONAL, _REQUIRED
from prompt_processing.instruments.raw_writer import restamp_raw, write_frames, write_raw

CCDS = {25: "S1", 32: "N1"}


def assembled(frame: RawFrame) -> np.ndarray:
    image = np.zeros(frame.shape, int)
    for segment in frame.segments:
        level = int(np.median(segment.data[segment.serial_overscan]))
        image[segment.target] = segment.oriented(segment.data[segment.data_section].astype(int) - level)
    return image


def test_each_ccd_of_decam_is_found_in_its_file(tmp_path):
    light = write_decam(tmp_path / "raw.fits.fz", CCDS)
    assert set(read_detector_headers(tmp_path / "raw.fits.fz")) == set(CCDS)
    for ccd in CCDS:
        frame = read_raw(tmp_path / "raw.fits.fz", instrument="DECam", detector=ccd)
        assert frame.detector == ccd
        # The left amplifier's overscan differs from its data by 3.
        expected = light[ccd].astype(int)
        expected[:, :20] -= 3
        np.testing.assert_array_equal(assembled(frame), expected)
        assert all(segment.data[segment.parallel_overscan].shape == (8, 20) for segment in frame.segments)


def test_overscan_follows_the_data_in_readout_order(tmp_path):
    write_decam(tmp_path / "raw.fits.fz", CCDS)
    for segment in read_raw(tmp_path / "raw.fits.fz", detector=25).segments:
        assert segment.serial_overscan[1].start == segment.data_section[1].stop == 20
        assert segment.parallel_overscan[0].start == segment.data_section[0].stop == 30


def test_detector_of_a_file_with_several_must_be_named(tmp_path):
    write_decam(tmp_path / "raw.fits.fz", CCDS)
    with pytest.raises(RawFileError, match="it holds detectors 25, 32; one of them must be named"):
        read_raw(tmp_path / "raw.fits.fz")
    with pytest.raises(RawFileError, match="detector 25, not 31"):
        read_raw(tmp_path / "raw.fits.fz", detector=31)
    with pytest.raises(RawFileError, match="it holds detectors 25, 32, not detector 31"):
        read_header(tmp_path / "raw.fits.fz", 31)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"OBSTYPE": "zero", "EXPTIME": 0.0, "FILTER": "Y DECam c0005 10095.0 1130.0"},
        {"OBSTYPE": "dome flat"},
    ],
)
def test_decam_records_equal_those_of_the_reference_translator(tmp_path, changes):
    write_decam(tmp_path / "raw.fits.fz", CCDS, **changes)
    header = read_header(tmp_path / "raw.fits.fz", 32)
    wanted = _REQUIRED | _OPTIONAL
    reference, ours = (
        ObservationInfo(dict(header), translator_class=one, subset=wanted, quiet=True)
        for one in (DecamTranslator, load_instrument("DECam").translator)
    )
    for name in sorted(wanted - {"altaz_begin", "tracking_radec"}):
        expected, found = getattr(reference, name), getattr(ours, name)
        if isinstance(expected, Time):
            assert abs((found - expected).sec) < 1e-6, name
        else:
            assert found == expected, name
    assert (ours.tracking_radec is None) == (reference.tracking_radec is None)
    if ours.tracking_radec is not None:
        assert ours.tracking_radec.separation(reference.tracking_radec.icrs).arcsec < 1e-3
    assert exposure_dimension_record_fields(translate(header))["instrument"] == "DECam"


def test_middle_of_an_exposure_ignores_when_its_file_was_sent_again(tmp_path):
    write_decam(tmp_path / "raw.fits.fz", CCDS, DTUTC="2023-08-14T18:10:06")
    observation = translate(read_header(tmp_path / "raw.fits.fz", 25))
    assert 45 <= (observation.mid - observation.begin).sec <= 110


def test_decam_points_where_its_own_wcs_does():
    # CRPIX, CD and CRVAL of a real header of CCD 25; its image begins at column 57 and row 51.
    camera = load_camera("DECam")
    wcs = detector_wcs(camera, camera.detector(25), 270.678779, -23.783305, 90.0)
    centre = wcs.all_pix2world([[1023.5, 2047.5]], 0)[0]
    x, y = 1080.5 - 2151.2, 2098.5 - 14826.0
    east = (-1.82494e-07 * x + 7.28535892432e-05 * y) / np.cos(np.radians(-23.78))
    north = -7.2849900453899e-05 * x - 1.82181666096e-07 * y
    assert centre[0] - 270.678779 == pytest.approx(east, abs=0.03)
    assert centre[1] + 23.783305 == pytest.approx(north, abs=0.03)


def test_frame_of_maxim_dl_is_read_and_translated(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 65536, (1020, 1530))
    path = write_single(tmp_path / "light.fit", MAXIM_HEADER, pixels)
    frame = read_raw(path, instrument="small", detector=0)
    np.testing.assert_array_equal(frame.segments[0].data, pixels)
    observation = translate(read_header(path))
    assert observation.exposure_id == 2024081000000 + 4844  # TAI seconds since noon
    assert (observation.day_obs, observation.group) == (20240810, "2024081004844")
    assert (observation.physical_filter, observation.band) == ("r", "r")
    assert observation.observation_type == "science"
    assert observation.ra == pytest.approx(296.240417, abs=1e-5)
    assert observation.dec == pytest.approx(-14.803056, abs=1e-5)
    assert observation.begin.utc.isot == "2024-08-10T13:20:07.000"


def test_camera_is_upside_down_beyond_the_meridian():
    east, west = (translate({**MAXIM_HEADER, "PIERSIDE": side}) for side in ("EAST", "WEST"))
    assert west.rotation - east.rotation == 180


@pytest.mark.parametrize(
    ("shape", "problem"), [((510, 765), "is it binned"), ((1020, 1529), "1529 x 1020 pixels")]
)
def test_binned_frame_is_refused(tmp_path, shape, problem):
    path = write_single(tmp_path / "light.fit", MAXIM_HEADER, np.zeros(shape))
    with pytest.raises(RawFileError, match=problem):
        read_raw(path)


def test_counts_written_as_floating_point_numbers_are_integers(tmp_path):
    fits.PrimaryHDU(np.full((1020, 1530), 774.0, np.float32), fits.Header(MAXIM_HEADER)).writeto(
        tmp_path / "a.fit"
    )
    fits.PrimaryHDU(np.full((1020, 1530), 0.5, np.float32), fits.Header(MAXIM_HEADER)).writeto(
        tmp_path / "b.fit"
    )
    assert read_raw(tmp_path / "a.fit").segments[0].data.dtype == np.int32
    assert read_raw(tmp_path / "b.fit").segments[0].data.dtype == np.float32


def small_frame(name: str, number: int) -> RawFrame:
    detector = load_camera(name).miniature(24, 20).detector(number)
    rng = np.random.default_rng(number)
    segments = tuple(
        Segment.of(one, rng.integers(1000, 60000, one.raw_shape, np.uint16)) for one in detector.amplifiers
    )
    header = {**(DECAM_PRIMARY if name == "DECam" else MAXIM_HEADER)}
    return RawFrame({**header, **({"CCDNUM": number} if name == "DECam" else {})}, name, number, segments)


@pytest.mark.parametrize(("name", "number"), [("DECam", 25), ("DECam", 32), ("small", 0)])
def test_raw_is_read_as_it_was_written(tmp_path, name, number):
    frame = small_frame(name, number)
    write_raw(tmp_path / "raw.fits", frame)
    found = read_raw(tmp_path / "raw.fits", instrument=name, detector=number)
    for mine, theirs in zip(found.segments, frame.segments, strict=True):
        np.testing.assert_array_equal(mine.data, theirs.data)
        assert (mine.flip_x, mine.flip_y, mine.x0, mine.y0) == (
            theirs.flip_x,
            theirs.flip_y,
            theirs.x0,
            theirs.y0,
        )
        assert mine.data_section == theirs.data_section


def test_several_detectors_share_a_file(tmp_path):
    frames = [small_frame("DECam", number) for number in (25, 32)]
    write_frames(tmp_path / "raw.fits", frames)
    with fits.open(tmp_path / "raw.fits") as hdus:
        assert [hdu.name for hdu in hdus[1:]] == ["S1", "N1"]
        assert hdus[0].header["EXPNUM"] == 1234567
        assert "EXPNUM" not in hdus[1].header
    for frame in frames:
        found = read_raw(tmp_path / "raw.fits", detector=frame.detector)
        np.testing.assert_array_equal(found.segments[1].data, frame.segments[1].data)
    with pytest.raises(ValueError, match="holds one detector"):
        write_frames(tmp_path / "raw.fits", [small_frame("small", 0)] * 2)


@pytest.mark.parametrize("name", ["DECam", "small"])
def test_raw_becomes_another_exposure(tmp_path, name):
    frame = small_frame(name, 25 if name == "DECam" else 0)
    write_raw(tmp_path / "raw.fits", frame)
    begin = Time("2025-01-02T03:04:05", scale="tai")
    restamp_raw(
        tmp_path / "raw.fits",
        tmp_path / "new.fits",
        exposure=7654321,
        group="g17",
        begin=begin,
        snap=1,
        snaps=2,
    )
    found = translate(read_header(tmp_path / "new.fits"))
    assert (found.exposure_id, found.group, found.snap) == (7654321, "g17", 1)
    assert abs((found.begin - begin).sec) < 1e-3
    np.testing.assert_array_equal(read_raw(tmp_path / "new.fits").segments[0].data, frame.segments[0].data)


def test_object_key_of_a_described_camera_is_parsed():
    key = format_raw_key(
        "DECam", 25, 1234567, group="g17", physical_filter="r DECam SDSS c0002 6415.0 1480.0"
    )
    assert RawKey.parse(key.key) == key
    # The header has no group: that of the key counts.
    assert translate({**DECAM_PRIMARY, "CCDNUM": 25}, key.key).group == "g17"


def test_missing_and_wrong_values_are_named():
    with pytest.raises(HeaderError, match="EXPNUM: is missing"):
        translate({**{k: v for k, v in DECAM_PRIMARY.items() if k != "EXPNUM"}, "CCDNUM": 25})
    with pytest.raises(HeaderError, match=r"CCDNUM.*DECam has no detector 63"):
        translate({**DECAM_PRIMARY, "CCDNUM": 63})
    with pytest.raises(HeaderError, match=r"DATE-OBS.*'yesterday' is not a time"):
        translate({**MAXIM_HEADER, "DATE-OBS": "yesterday"})


def test_camera_without_overscan_is_reduced(tmp_path):
    pixels = np.random.default_rng(1).normal(3000, 30, (1020, 1530))
    frame = read_raw(write_single(tmp_path / "light.fit", MAXIM_HEADER, pixels))
    detector = load_camera("small").detector(0)
    exposure = run_isr(frame, detector)
    assert np.median(exposure.image) == pytest.approx(3000 * 2.4, rel=0.01)


def test_every_shipped_description_names_only_what_exists():
    simulated = ("LSSTCamSim", "LSSTComCamSim", "LSSTCam-imSim")
    for name in ("DECam", "small", "LSSTCam", "LATISS", "HSC", "LSSTComCam", "LSST-TS8", *simulated):
        instrument = load_instrument(name)
        assert instrument.translator is not None
        assert instrument.document.to_confirm == {}
        folder = Path(instrument.folder)
        assert folder.name == name
