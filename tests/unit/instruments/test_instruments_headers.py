from pathlib import Path

import pytest
import yaml
from astro_metadata_translator import MetadataTranslator
from astropy.io import fits
from astropy.time import Time
from lsst.daf.butler import DimensionUniverse

from prompt_processing.instruments import (
    HeaderError,
    exposure_dimension_record_fields,
    parse_sidecar,
    translate,
)
from prompt_processing.instruments.raw_writer import format_sidecar

REAL = yaml.safe_load(Path(__file__).with_name("real_headers.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", REAL)
def test_real_header_says_what_the_camera_meant(name):
    observation = translate(REAL[name]["header"])
    for key, value in REAL[name]["says"].items():
        found = getattr(observation, key)
        if key in ("begin", "end"):
            assert found.scale == "tai"
            assert found.isot == value
        elif isinstance(value, float):
            assert found == pytest.approx(value, abs=1e-7), key
        else:
            assert found == value, key


@pytest.mark.parametrize("name", REAL)
def test_record_fields_make_an_exposure_record(name):
    observation = translate(REAL[name]["header"])
    record = DimensionUniverse()["exposure"].RecordClass(**exposure_dimension_record_fields(observation))
    assert record.id == observation.exposure_id
    assert record.timespan.begin == observation.begin


def test_header_is_not_changed_by_translation(real_header):
    header = real_header("LSSTCam")
    before = dict(header)
    translate(header)
    assert header == before


def test_astropy_header_with_undefined_values_is_read_as_without_them(real_header):
    header = fits.Header()
    for key, value in real_header("LSSTCam").items():
        header[key] = value
    header["GROUPID"] = None
    header["COMMENT"] = "of no consequence"
    assert translate(header).group == "2025060900578"


def test_mid_is_between_begin_and_end(real_header):
    observation = translate(real_header("LSSTCam"))
    assert (observation.mid - Time("2025-06-10T07:32:10.7545", scale="tai")).sec == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("instrument", "key"),
    [
        ("LSSTCam", "INSTRUME"),
        ("LSSTCam", "OBSID"),
        ("LSSTCam", "RAFTBAY"),
        ("LSSTCam", "CCDSLOT"),
        ("LSSTCam", "EXPTIME"),
        ("HSC", "EXP-ID"),
        ("HSC", "DET-ID"),
        ("HSC", "FILTER01"),
        ("HSC", "EXPTIME"),
        ("HSC", "UT-STR"),
    ],
)
def test_missing_key_is_named(real_header, instrument, key):
    header = real_header(instrument)
    del header[key]
    with pytest.raises(HeaderError, match=key) as caught:
        translate(header, "there.fits")
    assert caught.value.key == key
    assert "there.fits" in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("INSTRUME", "Brownie"),
        ("EXPTIME", "long"),
        ("EXPTIME", -3.0),
        ("DATE-BEG", "yesterday"),
        ("RAFTBAY", "R99"),
        ("DAYOBS", "June"),
        ("SEQNUM", 123456),
        ("ROTPA", "left"),
    ],
)
def test_unusable_value_is_named(real_header, key, value):
    header = real_header("LSSTCam") | {key: value}
    if key == "ROTPA":
        # A bad rotation is no rotation: that is for the caller to judge.
        assert translate(header).rotation is None
        return
    with pytest.raises(HeaderError) as caught:
        translate(header)
    assert caught.value.key == key


def test_missing_dates_are_reported(real_header):
    header = {key: value for key, value in real_header("LSSTCam").items() if not key.startswith("DATE")}
    with pytest.raises(HeaderError) as caught:
        translate(header)
    assert caught.value.key == "DATE-BEG"


@pytest.mark.parametrize(
    ("change", "rotation"),
    [({"ROTPA": None}, None), ({"ROTCOORD": "mount"}, None), ({"ROTPA": -10.0}, -10.0)],
)
def test_rotation_is_that_on_the_sky_or_none(real_header, change, rotation):
    assert translate(real_header("LSSTCam") | change).rotation == rotation


def test_position_is_optional(real_header):
    header = real_header("LSSTCam")
    for key in ("RA", "DEC", "RASTART", "DECSTART"):
        del header[key]
    assert translate(header).ra is None


def test_commanded_position_serves_where_the_true_one_is_missing(real_header):
    header = real_header("LSSTCam")
    del header["RASTART"]
    assert translate(header).ra == pytest.approx(header["RA"])


def test_unknown_filter_takes_the_band_of_the_header(real_header):
    header = real_header("LSSTCam") | {"SEQNUM": 900, "FILTER": "r_99", "FILTBAND": "r"}
    assert translate(header).band == "r"
    assert translate(header | {"FILTBAND": "other:r"}).band == "unknown"


def test_hsc_group_and_snap_are_those_of_the_key(real_header):
    key = "s3://bucket/HSC/50/2016-03-07T00:01/1/904024/HSC-I/HSCA90402512.fits"
    observation = translate(real_header("HSC"), key)
    assert (observation.group, observation.snap) == ("2016-03-07T00:01", 1)


def test_hsc_rotation_follows_the_position_angle(real_header):
    assert translate(real_header("HSC") | {"INST-PA": 30.0}).rotation == pytest.approx(240.0)


def test_new_hsc_exposure_ids_are_read(real_header):
    observation = translate(real_header("HSC") | {"EXP-ID": "HSCE00012345"})
    assert observation.exposure_id == 12345


def test_sidecar_is_read_as_the_header_it_is_of(real_header):
    header = real_header("LSSTCam") | {"STUTTER ROWS": 0, "XTENSION": "BINTABLE", "DETSEC": "[1:2,3:4]"}
    sidecar = parse_sidecar(format_sidecar(header))
    assert sidecar["STUTTER ROWS"] == 0
    assert not {"XTENSION", "DETSEC", "__CONTENT__"} & set(sidecar)
    assert translate(sidecar) == translate(header)


@pytest.mark.parametrize("text", [b"", b"{", b"[1, 2]", b"\xff\xfe"])
def test_sidecar_that_is_none_is_refused(text):
    with pytest.raises(HeaderError, match=r"over there\.json"):
        parse_sidecar(text, "over there.json")


def test_other_packages_translators_stay_as_they_are():
    assert not {name for name in MetadataTranslator.translators if "LSST" in name or "LATISS" in name}
    assert MetadataTranslator.translators["HSC"].__module__.startswith("astro_metadata_translator")
