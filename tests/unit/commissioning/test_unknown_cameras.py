"""A draft understands the headers of many programs and observatories without help."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time
from unknown_cameras import (
    CAMERAS,
    FLAT,
    GAIN,
    HEIGHT,
    KINDS,
    READ_NOISE,
    SECONDS,
    WIDTH,
    adu,
    light,
    utc,
    write_frames,
)

from prompt_processing.commissioning.assembled import assembled
from prompt_processing.commissioning.draft import draft_instrument
from prompt_processing.instruments import read_detector_headers, read_raw, translate
from prompt_processing.instruments.description.registry import SEARCH_PATH_VARIABLE


@pytest.fixture(scope="module", params=CAMERAS, ids=str)
def camera(request, tmp_path_factory):
    root: Path = tmp_path_factory.mktemp(request.param)
    frames = list(write_frames(request.param, root / "raws"))
    draft = draft_instrument([path for path, _ in frames], root / "cameras" / request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SEARCH_PATH_VARIABLE, str(root / "cameras"))
        yield CAMERAS[request.param][0], draft.instrument, frames


def test_detectors_with_files_of_their_own_are_told_apart(tmp_path, monkeypatch):
    paths = []
    for number, kind in enumerate(KINDS):
        for chip in ("E2V-41", "E2V-42"):
            cards = {"INSTRUME": "PairCam", "OBSTYPE": kind, "EXPTIME": SECONDS, "DATE-OBS": utc(number)}
            cards |= {"FILTER": "r", "CHIP": chip, "ORIGNAME": f"{number}{chip}.fits"}
            pixels = np.clip(np.rint(adu(kind, number)), 0, 65535).astype(np.uint16)
            paths.append(tmp_path / f"{number}{chip}.fits")
            fits.PrimaryHDU(pixels, fits.Header(cards)).writeto(paths[-1])
    instrument = draft_instrument(paths, tmp_path / "cameras" / "Pair").instrument
    assert [one.name for one in instrument.camera.detectors.values()] == ["E2V-41", "E2V-42"]
    assert instrument.camera.detector(0).x_mm == -instrument.camera.detector(1).x_mm != 0
    monkeypatch.setenv(SEARCH_PATH_VARIABLE, str(tmp_path / "cameras"))
    first, second = (translate(read_detector_headers(path)[chip]) for chip, path in enumerate(paths[-2:]))
    assert first.exposure_id == second.exposure_id
    # The name of a file is not that of the exposure.
    assert instrument.document.header.observation_id is None


def test_headers_are_understood(camera):
    expected, instrument, frames = camera
    for number, (path, kind) in enumerate(frames):
        headers = read_detector_headers(path)
        assert len(headers) == expected.detectors
        observation = translate(next(iter(headers.values())), str(path))
        assert observation.instrument == instrument.name
        assert observation.observation_type == kind
        tolerance = 0.01 if expected.has_exact_time else 1.0
        assert (observation.begin - Time(utc(number), scale="utc")).sec == pytest.approx(0, abs=tolerance)
        assert observation.exposure_time == pytest.approx(SECONDS)
        if kind == "science":
            assert (observation.physical_filter, observation.band) == (expected.filter, expected.band)
            assert observation.ra == pytest.approx(323.550833, abs=1e-4)
            assert observation.dec == pytest.approx(-0.247083, abs=1e-4)


def test_gain_and_read_noise_are_those_of_the_pixels(camera):
    expected, instrument, _ = camera
    for detector in instrument.camera.detectors.values():
        assert len(detector.amplifiers) == expected.amplifiers
        for amplifier in detector.amplifiers:
            assert amplifier.gain == pytest.approx(GAIN, rel=0.06)
            assert amplifier.read_noise == pytest.approx(READ_NOISE, rel=0.06)


def test_amplifiers_are_where_they_belong(camera):
    _, instrument, frames = camera
    path = frames[-3][0]  # A flat.
    for number in read_detector_headers(path):
        detector = instrument.camera.detector(number)
        assert (detector.width, detector.height) == (WIDTH, HEIGHT)
        image = np.asarray(assembled(read_raw(path, detector=number), detector), float)
        expected = light() * FLAT
        # Without overscan, the level remains.
        assert np.abs(image - image.mean() - (expected - expected.mean())).max() < 0.05 * FLAT
