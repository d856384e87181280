from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from prompt_processing.images import Defects, Exposure, Mask
from prompt_processing.imaging.errors import UnusableCalibrationError
from prompt_processing.imaging.isr.cosmic_rays import CosmicRayOptions
from prompt_processing.imaging.isr.isr import IsrOptions, run_isr
from prompt_processing.instruments import load_camera
from prompt_processing.simulation.electronics import with_drawn_electronics

NO_SEARCH = IsrOptions(cosmic_rays=None)


def small_detector(camera: str = "LSSTCam", detector: int = 94):
    return with_drawn_electronics(load_camera(camera)).miniature(32, 60).detector(detector)


def frame_of(values: np.ndarray, **metadata: str) -> Exposure:
    exposure = Exposure.blank(values.shape, metadata=metadata)
    exposure.image[:] = values
    return exposure


@pytest.mark.parametrize(
    ("camera", "detector"), [("LSSTCam", 94), ("LSSTCam", 0), ("LATISS", 0), ("HSC", 50)]
)
def test_each_pixel_lands_where_the_camera_says(digitize, camera: str, detector: int) -> None:
    small = small_detector(camera, detector)
    rows, columns = np.mgrid[: small.height, : small.width]
    truth = 1000.0 + 13 * columns + 7 * rows
    image = run_isr(digitize(truth, small), small, options=NO_SEARCH).image
    # Counts are whole numbers: half a count, and half of the overscan's.
    assert np.abs(image - truth).max() < 2 * max(a.gain for a in small.amplifiers)


def test_bias_dark_gain_and_flat_are_undone(digitize) -> None:
    small = small_detector()
    rng = np.random.default_rng(3)
    shape = (small.height, small.width)
    sky = np.full(shape, 900.0)
    flat = rng.normal(1, 0.05, shape)
    dark = rng.uniform(0, 2, shape)
    bias = rng.normal(0, 5, shape)
    raw = digitize(sky * flat + dark * 30, small, rng, bias=bias, header={"DARKTIME": 30.0})
    exposure = run_isr(raw, small, frame_of(bias), frame_of(dark), frame_of(flat), options=NO_SEARCH)
    pull = (exposure.image - sky) / 10
    assert abs(pull.mean()) < 0.05
    assert pull.std() < 1.2
    for name in ("BIAS", "DARK", "FLAT"):
        assert exposure.metadata[f"LSST ISR {name} APPLIED"] is True


def test_calibrations_in_other_units_give_the_same(digitize) -> None:
    small = small_detector()
    shape = (small.height, small.width)
    gains = np.zeros(shape)
    for amplifier in small.amplifiers:
        gains[amplifier.target_slices] = amplifier.gain
    bias, dark = np.full(shape, 20.0), np.full(shape, 1.5)
    raw = digitize(np.full(shape, 500.0), small)
    plain = run_isr(raw, small, frame_of(bias), frame_of(dark), options=NO_SEARCH).image
    other = run_isr(
        raw,
        small,
        frame_of(bias * gains, BUNIT="electron"),
        frame_of(dark / gains, BUNIT="adu/s"),
        options=NO_SEARCH,
    ).image
    assert np.allclose(plain, other, atol=0.01)


def test_variance_is_that_of_photons_and_read_noise(digitize) -> None:
    small = small_detector()
    rng = np.random.default_rng(5)
    expected = np.full((small.height, small.width), 400.0)
    raw = digitize(rng.poisson(expected).astype(float), small, rng)
    exposure = run_isr(raw, small, options=NO_SEARCH)
    pull = (exposure.image - expected) / np.sqrt(exposure.variance)
    assert pull.std() == pytest.approx(1.0, abs=0.04)
    noise = exposure.metadata[f"LSST ISR READNOISE {small.amplifiers[0].name}"]
    assert noise == pytest.approx(small.amplifiers[0].read_noise, rel=0.05)


def test_saturation_is_decided_before_the_bias_and_grown(digitize) -> None:
    small = small_detector()
    electrons = np.full((small.height, small.width), 100.0)
    amplifier = small.amplifiers[0]
    y, x = amplifier.y0 + 20, amplifier.x0 + 10
    electrons[y, x] = amplifier.saturation
    bias = np.full(electrons.shape, 50.0)
    exposure = run_isr(digitize(electrons, small), small, frame_of(bias), options=NO_SEARCH)
    saturated = exposure.has(Mask.SAT)
    assert saturated[y - 1 : y + 2, x - 1 : x + 2].all()
    assert saturated.sum() == 9
    assert exposure.metadata["LSST ISR SATURATED PIXELS"] == 1


@pytest.mark.parametrize("growth", [1, 3])
def test_saturation_grows_by_a_square_around_each_pixel_up_to_the_edges(digitize, growth) -> None:
    small = small_detector()
    electrons = np.full((small.height, small.width), 100.0)
    electrons[10:14, 20:29] = 2e5
    electrons[0, 0] = electrons[-1, -1] = electrons[small.height // 2 - 1, 40] = 2e5
    raw = digitize(electrons, small)
    options = replace(NO_SEARCH, saturation_growth=0)
    seeds = run_isr(raw, small, options=options).has(Mask.SAT)
    grown = run_isr(raw, small, options=replace(options, saturation_growth=growth)).has(Mask.SAT)
    width = 2 * growth + 1
    assert seeds.sum() == 39
    assert np.array_equal(grown, ndimage.binary_dilation(seeds, np.ones((width, width))))


def test_defects_are_marked_and_bridged(digitize) -> None:
    small = small_detector()
    electrons = np.full((small.height, small.width), 300.0)
    electrons[5:40, 50:52] = 9000.0
    defects = Defects(np.array([[50, 5, 2, 35]], np.int32))
    exposure = run_isr(digitize(electrons, small), small, defects=defects, options=NO_SEARCH)
    assert exposure.has(Mask.BAD).sum() == 70
    assert exposure.has(Mask.INTRP)[5:40, 50:52].all()
    assert np.abs(exposure.image[5:40, 50:52] - 300).max() < 5


def test_dead_pixels_of_the_flat_are_bad_and_finite(digitize) -> None:
    small = small_detector()
    flat = np.ones((small.height, small.width))
    flat[10, 10], flat[30, 30] = 0.0, np.nan
    raw = digitize(np.full(flat.shape, 300.0), small)
    exposure = run_isr(raw, small, flat=frame_of(flat), options=NO_SEARCH)
    assert exposure.has(Mask.NO_DATA).sum() == 2
    assert np.isfinite(exposure.image).all()
    assert np.isfinite(exposure.variance).all()


def test_without_calibrations_nothing_but_overscan_and_gain_is_applied(digitize) -> None:
    small = small_detector()
    exposure = run_isr(digitize(np.full((small.height, small.width), 300.0), small), small)
    assert exposure.metadata["BUNIT"] == "electron"
    assert np.abs(exposure.image - 300).max() < 4
    assert not exposure.metadata["LSST ISR FLAT APPLIED"]


def test_calibration_of_another_shape_is_refused_with_both_shapes(digitize) -> None:
    small = small_detector()
    raw = digitize(np.zeros((small.height, small.width)), small)
    with pytest.raises(UnusableCalibrationError, match="flat") as error:
        run_isr(raw, small, flat=frame_of(np.ones((3, 3))))
    assert error.value.metadata["calibration"] == "(3, 3)"


def test_calibration_of_unknown_unit_is_refused(digitize) -> None:
    small = small_detector()
    raw = digitize(np.zeros((small.height, small.width)), small)
    with pytest.raises(UnusableCalibrationError, match="unit"):
        run_isr(raw, small, bias=frame_of(np.zeros((small.height, small.width)), BUNIT="furlong"))


def test_segment_that_the_detector_does_not_have_is_refused(digitize) -> None:
    small = small_detector()
    raw = digitize(np.zeros((small.height, small.width)), small)
    with pytest.raises(LookupError, match="Segment10"):
        run_isr(raw, replace(small, amplifiers=small.amplifiers[1:]))


def test_a_frame_too_noisy_for_cosmic_rays_is_reduced_all_the_same(digitize, caplog) -> None:
    small = small_detector()
    rng = np.random.default_rng(1)
    wild = 300 + 200 * (rng.uniform(size=(small.height, small.width)) < 0.05)
    options = IsrOptions(cosmic_rays=CosmicRayOptions(max_pixels=10))
    exposure = run_isr(digitize(wild, small), small, options=options)
    assert exposure.metadata["LSST ISR COSMIC RAY PIXELS"] == 0
    assert "No cosmic rays marked" in caplog.text
