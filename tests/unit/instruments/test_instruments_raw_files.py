import re

import fitsio
import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time

from prompt_processing.instruments import (
    HeaderError,
    RawFileError,
    RawKey,
    format_raw_key,
    parse_sidecar,
    read_header,
    read_raw,
    translate,
)
from prompt_processing.instruments.raw_writer import (
    format_sidecar,
    restamp_raw,
    write_raw,
)

CAMERAS = ["LSSTCam", "LATISS", "LSSTComCam", "HSC"]


def assert_same_segments(first, second):
    assert len(first.segments) == len(second.segments)
    for mine, theirs in zip(first.segments, second.segments, strict=True):
        for name in (n for n in mine.__slots__ if n != "data"):
            assert getattr(mine, name) == getattr(theirs, name), name
        assert mine.data.dtype == theirs.data.dtype
        np.testing.assert_array_equal(mine.data, theirs.data)


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("instrument", CAMERAS)
def test_raw_is_read_as_it_was_written(tmp_path, small_frame, instrument, compress):
    frame, camera = small_frame(instrument)
    path = tmp_path / "raw.fits"
    write_raw(path, frame, compress=compress)
    found = read_raw(path, instrument=instrument, detector=frame.detector)
    assert_same_segments(found, frame)
    detector = camera.detector(frame.detector)
    assert found.shape == (detector.height, detector.width)
    assert translate(found.header).obs_id == translate(frame.header).obs_id
    assert translate(read_header(path)).exposure_id == translate(frame.header).exposure_id


def test_detsec_of_segments_is_that_of_real_files(tmp_path, small_frame):
    # At full size Segment10 of an ITL has [509:1,1:2000], Segment07 [4072:3564,4000:2001].
    frame, _ = small_frame("LSSTCam", columns=24, rows=20)
    write_raw(tmp_path / "raw.fits", frame)
    with fits.open(tmp_path / "raw.fits") as hdus:
        sections = {hdu.name: hdu.header["DETSEC"] for hdu in hdus[1:]}
        assert hdus[1].header["DATASEC"] == "[4:27,1:20]"
        assert hdus[1].header["DTV1"] == 28.0
        assert all(isinstance(hdu, fits.CompImageHDU) for hdu in hdus[1:])
    assert sections["Segment10"] == "[24:1,1:20]"
    assert sections["Segment17"] == "[192:169,1:20]"
    assert sections["Segment07"] == "[192:169,40:21]"
    assert sections["Segment00"] == "[24:1,40:21]"


@pytest.mark.parametrize(
    ("name", "flips", "corner"),
    [("Segment10", (True, True), (0, 20)), ("Segment07", (True, False), (168, 0))],
)
def test_segments_land_where_the_detector_has_them(tmp_path, small_frame, name, flips, corner):
    frame, _ = small_frame("LSSTCam")
    write_raw(tmp_path / "raw.fits", frame)
    segment = next(s for s in read_raw(tmp_path / "raw.fits").segments if s.name == name)
    assert (segment.flip_x, segment.flip_y) == flips
    assert (segment.x0, segment.y0) == corner
    first_read = segment.data[segment.data_section][0, 0]
    oriented = segment.oriented(segment.data[segment.data_section])
    assert oriented[-1 if flips[1] else 0, -1] == first_read


def test_hsc_channels_are_side_by_side_in_the_file(tmp_path, small_frame):
    frame, _ = small_frame("HSC", columns=512, rows=4176)
    write_raw(tmp_path / "raw.fits", frame)
    header = fitsio.read_header(tmp_path / "raw.fits")
    assert (header["NAXIS1"], header["NAXIS2"], header["BITPIX"]) == (2144, 4241, 16)
    # As in the real header.
    expected = {
        "T_OSMN11": 521,
        "T_OSMX11": 536,
        "T_EFMN11": 9,
        "T_EFMX11": 520,
        "T_OSMN12": 4226,
        "T_OSMX12": 4241,
    }
    expected |= {"T_EFMN12": 50, "T_EFMX12": 4225, "T_OSMN21": 537, "T_OSMX21": 552, "T_EFMN21": 553}
    expected |= {"T_EFMX21": 1064, "T_OSMN31": 1593, "T_EFMN31": 1081, "T_OSMN41": 1609, "T_EFMX41": 2136}
    assert {key: header[key] for key in expected} == expected


def test_compressed_hsc_raw_is_read(tmp_path, small_frame):
    frame, _ = small_frame("HSC")
    write_raw(tmp_path / "raw.fits", frame)
    with fits.open(tmp_path / "raw.fits") as hdus:
        fits.HDUList(
            [fits.PrimaryHDU(), fits.CompImageHDU(hdus[0].data, hdus[0].header, compression_type="RICE_1")]
        ).writeto(tmp_path / "raw.fits.fz")
    assert_same_segments(read_raw(tmp_path / "raw.fits.fz"), frame)
    restamp_raw(
        tmp_path / "raw.fits.fz",
        tmp_path / "new.fits.fz",
        exposure=77,
        group="new",
        begin=Time("2025-08-02T03:04:05", scale="tai"),
    )
    assert translate(read_header(tmp_path / "new.fits.fz")).exposure_id == 77


def test_old_latiss_sections_that_forget_the_prescan_are_put_right(tmp_path, small_frame):
    frame, _ = small_frame("LATISS")
    write_raw(tmp_path / "raw.fits", frame, compress=False)
    with fits.open(tmp_path / "raw.fits", mode="update") as hdus:
        for hdu in hdus[1:]:
            hdu.header["DATASEC"] = "[1:24,1:20]"
            hdu.header["OVERH"] = 64
    assert_same_segments(read_raw(tmp_path / "raw.fits"), frame)


@pytest.mark.parametrize("instrument", CAMERAS)
@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5, 0.9])
def test_truncated_file_is_refused(tmp_path, small_frame, instrument, kept):
    frame, _ = small_frame(instrument, columns=128, rows=100)
    path = tmp_path / "raw.fits"
    write_raw(path, frame)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises((RawFileError, HeaderError), match=re.escape(str(path))):
        read_raw(path)


@pytest.mark.parametrize("content", [b"", b"not FITS at all" * 500])
def test_what_is_no_fits_file_is_refused(tmp_path, content):
    path = tmp_path / "raw.fits"
    path.write_bytes(content)
    with pytest.raises(RawFileError, match=re.escape(str(path))):
        read_raw(path)
    with pytest.raises(RawFileError):
        read_header(path)


def test_absent_file_is_refused(tmp_path):
    with pytest.raises(RawFileError, match=r"none\.fits"):
        read_raw(tmp_path / "none.fits")


def test_file_of_another_detector_or_instrument_is_refused(tmp_path, small_frame):
    frame, _ = small_frame("LSSTCam")
    write_raw(tmp_path / "raw.fits", frame)
    with pytest.raises(RawFileError, match="detector 1, not 94"):
        read_raw(tmp_path / "raw.fits", detector=94)
    with pytest.raises(RawFileError, match="instrument LSSTCam, not LATISS"):
        read_raw(tmp_path / "raw.fits", instrument="LATISS")


def test_missing_segment_is_noticed(tmp_path, small_frame):
    frame, _ = small_frame("LSSTCam")
    write_raw(tmp_path / "raw.fits", frame)
    with fits.open(tmp_path / "raw.fits") as hdus:
        fits.HDUList([hdu for hdu in hdus if hdu.name != "Segment13"]).writeto(tmp_path / "less.fits")
    with pytest.raises(RawFileError, match="15 segments"):
        read_raw(tmp_path / "less.fits")


@pytest.mark.parametrize(
    ("key", "value"), [("DETSEC", None), ("DATASEC", "everywhere"), ("DATASEC", "[4:30,1:20]")]
)
def test_bad_section_is_named(tmp_path, small_frame, key, value):
    frame, _ = small_frame("LSSTCam")
    write_raw(tmp_path / "raw.fits", frame, compress=False)
    with fits.open(tmp_path / "raw.fits", mode="update") as hdus:
        if value is None:
            del hdus[3].header[key]
        else:
            hdus[3].header[key] = value
    with pytest.raises(HeaderError) as caught:
        read_raw(tmp_path / "raw.fits")
    assert caught.value.key == key


def test_half_of_a_detector_is_noticed(tmp_path, small_frame):
    frame, _ = small_frame("LSSTCam")
    write_raw(tmp_path / "raw.fits", frame)
    with fits.open(tmp_path / "raw.fits") as hdus:
        fits.HDUList([hdu for hdu in hdus if "Segment1" not in hdu.name]).writeto(tmp_path / "less.fits")
    with pytest.raises(RawFileError, match="8 segments"):
        read_raw(tmp_path / "less.fits")


def test_bad_hsc_section_is_named(tmp_path, small_frame):
    frame, _ = small_frame("HSC")
    write_raw(tmp_path / "raw.fits", frame)
    with fits.open(tmp_path / "raw.fits", mode="update") as hdus:
        del hdus[0].header["T_EFMN31"]
    with pytest.raises(HeaderError, match="T_EFMN31"):
        read_raw(tmp_path / "raw.fits")


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize(
    ("instrument", "exposure"), [(c, 12345 if c == "HSC" else 2025080100007) for c in CAMERAS]
)
def test_new_identity_changes_all_but_the_pixels(tmp_path, small_frame, instrument, exposure, in_place):
    frame, _ = small_frame(instrument)
    old, new = tmp_path / "old.fits", tmp_path / ("old.fits" if in_place else "new.fits")
    write_raw(old, frame)
    before = translate(read_header(old))
    begin = Time("2025-08-02T03:04:05", scale="tai")
    header = restamp_raw(
        old, new, exposure=exposure, group="2025-08-02T03:00:00.000#1", begin=begin, snap=1, snaps=2
    )
    after = translate(header)
    assert (after.exposure_id, after.group, after.snap) == (exposure, "2025-08-02T03:00:00.000#1", 1)
    # Subaru's days are those of UTC, which begin in its afternoon.
    assert after.day_obs == (20250802 if instrument == "HSC" else 20250801)
    assert abs((after.begin - begin).sec) < 0.001
    assert (after.end - after.begin).sec == pytest.approx((before.end - before.begin).sec, abs=0.002)
    kept = [
        "instrument",
        "detector",
        "ra",
        "dec",
        "rotation",
        "physical_filter",
        "exposure_time",
        "target_name",
    ]
    assert {k: getattr(after, k) for k in kept} == {k: getattr(before, k) for k in kept}
    assert_same_segments(read_raw(new), frame)
    assert translate(parse_sidecar(format_sidecar(header))) == after
    key = format_raw_key(
        instrument, after.detector, exposure, group=after.group, physical_filter=after.physical_filter
    )
    assert RawKey.parse(key.key).exposure == after.exposure_id
    with fits.open(new, checksum=True) as hdus:
        assert hdus[0].verify_checksum() == 1
        hdus.verify("exception")


def test_file_that_cannot_be_stamped_is_named(tmp_path):
    (tmp_path / "raw.fits").write_bytes(b"")
    with pytest.raises(RawFileError, match=r"raw\.fits"):
        restamp_raw(tmp_path / "raw.fits", tmp_path / "new.fits", exposure=1, group="g", begin=Time.now())
