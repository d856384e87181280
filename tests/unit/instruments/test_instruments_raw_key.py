import pytest

from prompt_processing.instruments import (
    RawKey,
    format_obs_id,
    format_raw_key,
    load_camera,
    lsst_exposure_id,
    visit_prefixes,
)

LSSTCAM = "LSSTCam/20250609/MC_O_20250609_000578/MC_O_20250609_000578_R22_S11.fits"
HSC = "HSC/50/2016-03-07T00:01/1/12345/HSC-I/HSCA90402512.fits"


def test_lsst_key_gives_detector_and_exposure():
    key = RawKey.parse(LSSTCAM)
    assert key == RawKey("LSSTCam", 94, 2025060900578, None, None, None, LSSTCAM)
    assert key.obs_id == "MC_O_20250609_000578"
    assert key.sidecar_key() == LSSTCAM.replace(".fits", ".json")


@pytest.mark.parametrize("extension", [".fits", ".fits.fz", ".fz", ".fits.gz"])
def test_every_extension_is_known(extension):
    key = RawKey.parse(LSSTCAM.replace(".fits", extension))
    assert key is not None
    assert key.sidecar_key() == LSSTCAM.replace(".fits", ".json")


@pytest.mark.parametrize(
    ("key", "instrument", "detector"),
    [
        ("LATISS/20240624/AT_O_20240624_000106/AT_O_20240624_000106_R00_S00.fits", "LATISS", 0),
        ("ComCam/20241108/CC_O_20241108_000266/CC_O_20241108_000266_R22_S12.fits", "LSSTComCam", 5),
        ("LSSTComCam/20241108/CC_O_20241108_000266/CC_O_20241108_000266_R22_S12.fits", "LSSTComCam", 5),
        ("LSSTCamSim/20240321/MC_S_20240321_000720/MC_S_20240321_000720_R22_S11.fits", "LSSTCamSim", 94),
        ("LSSTComCamSim/20240404/CC_S_20240404_000780/CC_S_20240404_000780_R22_S01.fits", "LSSTComCamSim", 1),
        ("LSSTCam/20250609/MC_O_20250609_000578/MC_O_20250609_000578_R00_SW0.fits", "LSSTCam", 191),
    ],
)
def test_instrument_and_detector_are_told(key, instrument, detector):
    found = RawKey.parse(key)
    assert (found.instrument, found.detector) == (instrument, detector)


def test_other_cameras_keys_hold_the_visit():
    assert RawKey.parse(HSC) == RawKey("HSC", 50, 12345, "2016-03-07T00:01", 1, "HSC-I", HSC)
    assert RawKey.parse("DECam/3/g/0/17/r/x.fits.fz").instrument == "DECam"


@pytest.mark.parametrize(
    "key",
    [
        "",
        "LSSTCam",
        LSSTCAM.replace(".fits", ".json"),
        LSSTCAM.replace(".fits", "_guider.fits"),
        LSSTCAM.replace("R22_S11", "R99_S11"),
        LSSTCAM.replace("MC_", "AT_"),
        LSSTCAM.replace("/20250609/", "/20250608/"),
        LSSTCAM.replace("LSSTCam", "Brownie"),
        LSSTCAM.replace("000578", "100578"),
        LSSTCAM + ".tmp",
        "unobserved/" + LSSTCAM,
        HSC.replace(".fits", ".json"),
        HSC.replace("/50/", "/fifty/"),
        "unobserved/" + HSC,
        "LSSTCam/50/g/0/12345/r_57/x.fits",
    ],
)
def test_what_is_no_raw_is_passed_over(key):
    assert RawKey.parse(key) is None


@pytest.mark.parametrize("instrument", ["LSSTCam", "LATISS", "LSSTComCam", "LSSTComCamSim"])
def test_lsst_keys_are_read_as_they_were_made(instrument):
    for number in load_camera(instrument).detectors:
        made = format_raw_key(instrument, number, 2025060900578)
        assert RawKey.parse(made.key) == made


def test_known_key_is_made():
    assert format_raw_key("LSSTCam", 94, 2025060900578).key == LSSTCAM
    made = format_raw_key("LATISS", 0, 2024062400106, controller="C", extension=".fits.fz").key
    assert made == "LATISS/20240624/AT_C_20240624_000106/AT_C_20240624_000106_R00_S00.fits.fz"


def test_hsc_key_is_read_as_it_was_made():
    made = format_raw_key("HSC", 50, 12345, group="2016#1", snap=1, physical_filter="HSC-I")
    assert made.key == "HSC/50/2016#1/1/12345/HSC-I/HSC-12345-050.fits"
    assert RawKey.parse(made.key) == made
    assert made.sidecar_key() == "HSC/50/2016#1/1/12345/HSC-I/HSC-12345-050.json"


def test_impossible_keys_are_refused():
    with pytest.raises(ValueError, match="group"):
        format_raw_key("HSC", 50, 12345)
    with pytest.raises(ValueError, match="999"):
        format_raw_key("LSSTCam", 999, 2025060900578)
    with pytest.raises(ValueError, match="jpeg"):
        format_raw_key("LSSTCam", 94, 2025060900578, extension=".jpeg")
    with pytest.raises(ValueError, match="12345"):
        format_raw_key("LSSTCam", 94, 12345)


def test_exposure_ids():
    assert lsst_exposure_id(20250609, 578) == 2025060900578
    with pytest.raises(ValueError, match="100000"):
        lsst_exposure_id(20250609, 100000)
    assert format_obs_id("LSSTCam", 2025060900578) == "MC_O_20250609_000578"
    assert format_obs_id("HSC", 12345) == "HSCE00012345"
    with pytest.raises(ValueError, match="8 digits"):
        format_obs_id("HSC", 123456789)


def test_prefixes_find_the_visits_raws():
    hsc = visit_prefixes("HSC", 50, "2016-03-07T00:01", [20160306])
    assert any(HSC.startswith(prefix) for prefix in hsc)
    assert visit_prefixes("LSSTCam", 94, "g", [20250609, 20250610, 20250609]) == (
        "LSSTCam/20250609/",
        "LSSTCam/20250610/",
    )
    assert visit_prefixes("LSSTComCam", 0, "g", [20241108]) == ("LSSTComCam/20241108/", "ComCam/20241108/")


def test_keys_of_the_test_stand_and_of_imsim_are_read():
    stand = "TS8/20230601/TS_C_20230601_000012/TS_C_20230601_000012_R22_S12.fits"
    assert (RawKey.parse(stand).instrument, RawKey.parse(stand).detector) == ("LSST-TS8", 5)
    # The stand's controller counted for itself then.
    assert RawKey.parse(stand).exposure == 3023060100012
    simulated = "LSSTCam-imSim/20220601/5022060100012/5022060100012_i_sim_1.4_94_R22_S11.fits.fz"
    key = RawKey.parse(simulated)
    assert (key.instrument, key.detector, key.exposure) == ("LSSTCam-imSim", 94, 5022060100012)
    assert key.physical_filter == "i_sim_1.4"
    assert RawKey.parse(simulated.replace("_94_", "_95_")) is None


GROUP_KEY = "HSC/50/{}/0/12345/HSC-R/raw.fits"


@pytest.mark.parametrize(
    "part",
    ["%2e%2e", "%2E%2E", "%252e%252e", ".%2e", "a%2F..%2Fb", "a%5c..%5cb", "%2F", "a%2f%2fb", "%00", "a%0ab"],
)
def test_key_that_leads_elsewhere_once_decoded_is_not_a_raw(part: str) -> None:
    assert RawKey.parse(GROUP_KEY.format("2025-06-10T08:18:28.123")) is not None
    assert RawKey.parse(GROUP_KEY.format(part)) is None


def test_name_that_is_too_long_for_a_file_system_once_decoded_is_not_a_raw() -> None:
    assert RawKey.parse(GROUP_KEY.format("g" * 256)) is None


@pytest.mark.parametrize("part", ["%20", "100%25", "a%2Bb", "50%"])
def test_percent_signs_that_lead_nowhere_else_are_allowed(part: str) -> None:
    raw = RawKey.parse(GROUP_KEY.format(part))
    assert raw is not None
    assert raw.group == part
