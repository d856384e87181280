import dataclasses

import numpy as np
import pytest

from prompt_processing.instruments import Camera, band_of_filter, camera_names, load_camera, load_instrument
from prompt_processing.instruments.camera import nominal_detectors


@pytest.mark.parametrize(
    ("name", "purposes"),
    [
        ("LSSTCam", {"SCIENCE": 189, "GUIDER": 8, "WAVEFRONT": 8}),
        ("HSC", {"SCIENCE": 104, "FOCUS": 8}),
        ("LATISS", {"SCIENCE": 1}),
        ("LSSTComCam", {"SCIENCE": 9}),
    ],
)
def test_camera_has_all_its_detectors(name, purposes):
    found = [detector.purpose for detector in load_camera(name).detectors.values()]
    assert {purpose: found.count(purpose) for purpose in set(found)} == purposes


@pytest.mark.parametrize("name", camera_names())
def test_amplifiers_tile_each_detector_once(name):
    for camera in (load_camera(name).miniature(5, 4),):
        for detector in camera.detectors.values():
            hits = np.zeros((detector.height, detector.width), int)
            for amplifier in detector.amplifiers:
                hits[amplifier.target_slices] += 1
            assert (hits == 1).all(), detector.name


@pytest.mark.parametrize(
    ("camera", "detector", "size", "raw"),
    [
        ("LSSTCam", "R01_S01", (4072, 4000), (2048, 576)),
        ("LSSTCam", "R22_S11", (4096, 4004), (2048, 576)),
        ("LSSTCam", "R00_SW0", (4072, 2000), (2048, 576)),
        ("LATISS", "RXX_S00", (4072, 4000), (2048, 576)),
        ("HSC", "1_12", (2048, 4176), (4241, 536)),
    ],
)
def test_sizes_are_those_of_the_real_files(camera, detector, size, raw):
    found = load_camera(camera).detector(detector)
    assert (found.width, found.height) == size
    assert {amplifier.raw_shape for amplifier in found.amplifiers} == {raw}


@pytest.mark.parametrize(
    "name", [name for name in camera_names() if load_instrument(name).document.electronics is None]
)
def test_nobody_invents_electronic_values_for_a_real_camera(name):
    camera = load_camera(name)
    for vendor in {detector.vendor for detector in camera.detectors.values()}:
        amplifiers = [a for d in camera.detectors.values() if d.vendor == vendor for a in d.amplifiers]
        assert len({(a.gain, a.read_noise, a.saturation) for a in amplifiers}) == 1
        if vendor in ("ITL", "E2V"):
            (gain, read_noise, saturation) = (
                amplifiers[0].gain, amplifiers[0].read_noise, amplifiers[0].saturation,
            )  # fmt: skip
            assert 1.1 <= gain <= 1.7
            assert 5 <= read_noise <= 10
            assert 130_000 <= saturation <= 142_000


def test_detector_with_one_measured_amplifier_is_not_nominal():
    camera = load_camera("LATISS")
    assert nominal_detectors(camera) == [camera.detector(0)]
    assert nominal_detectors(camera.miniature(10, 10)) != []
    first, *others = camera.detector(0).amplifiers
    detector = dataclasses.replace(
        camera.detector(0), amplifiers=(dataclasses.replace(first, gain=1.41), *others)
    )
    assert nominal_detectors(dataclasses.replace(camera, detectors={0: detector})) == []
    assert nominal_detectors(dataclasses.replace(camera, name="Brownie")) == []


@pytest.mark.parametrize("name", camera_names())
def test_camera_survives_json(name):
    camera = load_camera(name)
    assert Camera.from_json(camera.to_json()) == camera


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": "LSSTCam", "detectors": [{"id": 1}]}'])
def test_json_of_something_else_is_refused(text):
    with pytest.raises(ValueError, match="Not a camera"):
        Camera.from_json(text)


def test_miniature_differs_in_size_only():
    camera = load_camera("LSSTCam")
    small = camera.miniature(32, 50).detector(94)
    full = camera.detector(94)
    assert (small.width, small.height) == (256, 100)
    assert (small.x_mm, small.y_mm, small.yaw_deg, small.name) == (
        full.x_mm,
        full.y_mm,
        full.yaw_deg,
        full.name,
    )
    for mine, theirs in zip(small.amplifiers, full.amplifiers, strict=True):
        changed = {
            f.name for f in dataclasses.fields(mine) if getattr(mine, f.name) != getattr(theirs, f.name)
        }
        assert changed <= {"columns", "rows", "x0", "y0"}


def test_unknown_camera_and_detector_are_named():
    with pytest.raises(LookupError, match="Brownie"):
        load_camera("Brownie")
    with pytest.raises(LookupError, match="205"):
        load_camera("LSSTCam").detector(205)
    with pytest.raises(LookupError, match="R99_S99"):
        load_camera("LSSTCam").detector("R99_S99")
    with pytest.raises(LookupError, match="Segment99"):
        load_camera("LSSTCam").detector(0).amplifier("Segment99")


@pytest.mark.parametrize(
    ("instrument", "physical_filter", "band"),
    [
        ("LSSTCam", "g_6", "g"),
        ("LSSTCam", "ef_43", "white"),
        ("LATISS", "SDSSg_65mm~empty", "g"),
        ("LATISS", "empty~SDSSr_65mm", "r"),
        ("LATISS", "SDSSi_65mm~holo4_003", "i"),
        ("HSC", "HSC-R2", "r"),
        ("HSC", "HSC-I2", "i"),
        ("HSC", "r_57", None),
        ("Brownie", "g", None),
    ],
)
def test_filter_has_its_band(instrument, physical_filter, band):
    assert band_of_filter(instrument, physical_filter) == band


@pytest.mark.parametrize("name", camera_names())
def test_filter_names_fit_the_butler(name):
    assert max(map(len, load_camera(name).filters)) <= 32
