from __future__ import annotations

import numpy as np
import pytest

from prompt_processing.instruments import Detector, load_camera, load_instrument
from prompt_processing.simulation.calibrations import calibration_products, measured_camera
from prompt_processing.simulation.electronics import with_drawn_electronics
from prompt_processing.simulation.readout import _bleed, add_cosmic_rays, expose_sensor, read_segments
from prompt_processing.simulation.sensor import Sensor


def detector(instrument: str = "LSSTCam", number: int = 94, size: tuple[int, int] = (40, 120)) -> Detector:
    return with_drawn_electronics(load_camera(instrument)).miniature(*size).detector(number)


def test_bleeding_conserves_charge_and_runs_along_the_column() -> None:
    electrons = np.full((101, 9), 100, np.float32)
    electrons[50, 4] = 1050.0
    saturated = np.zeros(electrons.shape, bool)
    total = electrons.sum()
    _bleed(electrons, saturated, np.float32(200))
    assert electrons.sum() == pytest.approx(total)
    assert electrons.max() == 200
    assert saturated[:, 4].sum() in (8, 9)
    assert not np.delete(saturated, 4, axis=1).any()
    assert abs(np.flatnonzero(saturated[:, 4]).mean() - 50) <= 0.5


def test_bleeding_ends_at_the_segments_end() -> None:
    electrons = np.zeros((10, 1), np.float32)
    electrons[5] = 1e6
    saturated = np.zeros(electrons.shape, bool)
    _bleed(electrons, saturated, np.float32(200))
    assert saturated.all()
    assert np.all(electrons == 200)


def test_bleeding_star_stays_in_its_half_of_the_detector() -> None:
    d = detector()
    light = np.full((d.height, d.width), 900, np.float32)
    light[110, 200] = 5e7
    _, saturated, _ = expose_sensor(light, Sensor.make(d, 1), "r", 30.0, np.random.default_rng(1))
    assert saturated[:120, 200].all()
    assert not saturated[120:, 200].any()


@pytest.mark.parametrize(
    ("instrument", "number", "size"),
    [("LSSTCam", 94, (40, 120)), ("LSSTCam", 0, (40, 120)), ("LATISS", 0, (40, 120)), ("HSC", 50, (60, 200))],
)
def test_reduced_counts_give_the_electrons_back(instrument: str, number: int, size: tuple[int, int]) -> None:
    d = detector(instrument, number, size)
    sensor = Sensor.make(d, 1)
    rng = np.random.default_rng(2)
    # A ramp shows any wrong flip.
    electrons = np.add.outer(np.linspace(100, 9000, d.height), np.linspace(0, 5000, d.width)).astype(
        np.float32
    )
    assembled = np.full(electrons.shape, np.nan, np.float32)
    bias = calibration_products(sensor, {}, 1).bias.image
    for segment, amplifier in zip(read_segments(electrons, sensor, rng), d.amplifiers, strict=True):
        assert segment.data.shape == amplifier.raw_shape
        level = np.median(segment.data[segment.serial_overscan][:, 3:], axis=1)
        counts = segment.data[segment.data_section] - level[:, np.newaxis]
        assembled[segment.target] = segment.oriented(counts) - bias[segment.target]
        assembled[segment.target] *= amplifier.gain
    assert not np.isnan(assembled).any()
    assert abs(np.median(assembled - electrons)) < 3
    assert np.std(assembled - electrons) < 12


def test_noise_is_that_of_photons_and_readout() -> None:
    d = detector()
    sensor = Sensor.make(d, 1)
    light = np.full((d.height, d.width), 2000, np.float32)
    response = sensor.response("r")
    electrons, saturated, struck = expose_sensor(light, sensor, "r", 0.0, np.random.default_rng(3))
    residual = (electrons - 2000 * response)[~struck & (response > 0.5)]
    read_variance = np.mean([a.read_noise**2 for a in d.amplifiers])
    assert np.var(residual) == pytest.approx(2000 + read_variance, rel=0.03)
    assert not saturated.any()


def test_cosmic_rays_come_at_their_rate() -> None:
    image = np.zeros((1000, 1000), np.float32)
    count = add_cosmic_rays(image, 3000.0, np.random.default_rng(4))
    assert 200 < count < 300
    assert image.max() > 300
    assert (image > 30).mean() < 0.02


def test_sensor_is_the_same_every_time_and_another_for_another_detector() -> None:
    first, again, other = (Sensor.make(detector(number=n), 1) for n in (94, 94, 95))
    assert np.array_equal(first.response("r"), again.response("r"))
    assert not np.array_equal(first.response("r"), other.response("r"))
    assert not np.array_equal(first.response("r"), first.response("i"))


def test_flat_is_the_response_to_a_tenth_of_a_per_cent() -> None:
    sensor = Sensor.make(detector(), 1)
    products = calibration_products(sensor, {"r_57": "r"}, 1)
    flat, response = products.flats["r_57"], sensor.response("r")
    good = response > 0.5
    relative = flat.image[good] / (response[good] / response.mean())
    assert np.std(relative) < 0.0015
    assert np.mean(relative) == pytest.approx(1, abs=1e-4)
    assert products.defects.boxes.shape[1] == 4


def test_measured_gains_are_nearly_right() -> None:
    camera = load_camera("LATISS")
    measured = measured_camera(camera, 1)
    ratios = [
        m.gain / t.gain
        for m, t in zip(measured.detector(0).amplifiers, camera.detector(0).amplifiers, strict=True)
    ]
    assert 0 < np.std(ratios) < 0.005


def test_simulated_amplifiers_differ_and_are_the_same_each_night() -> None:
    camera = load_camera("LSSTCam")
    drawn = with_drawn_electronics(camera)
    amplifiers = [amplifier for one in drawn.detectors.values() for amplifier in one.amplifiers]
    assert len({amplifier.gain for amplifier in amplifiers}) > 100
    assert all(1.1 <= amplifier.gain <= 1.7 and 5 <= amplifier.read_noise <= 10 for amplifier in amplifiers)
    assert all(130_000 <= amplifier.saturation <= 142_000 for amplifier in amplifiers)
    assert with_drawn_electronics(camera.miniature(5, 4)).detector(94).amplifiers[0].gain == (
        drawn.detector(94).amplifiers[0].gain
    )


def test_the_bias_of_a_camera_without_overscan_has_the_whole_level() -> None:
    instrument = load_instrument("small")
    sensor = Sensor.make(instrument.camera.detector(0), 1, instrument.document.raw)
    level = sensor.bias_level(sensor.detector.amplifiers[0])
    rng = np.random.default_rng(1)
    (segment,) = read_segments(np.zeros(sensor.shape, np.float32), sensor, rng)
    bias = calibration_products(sensor, {}, 1).bias
    assert np.median(bias.image) == pytest.approx(level, abs=2)
    assert np.median(segment.data) == pytest.approx(level, abs=6)
