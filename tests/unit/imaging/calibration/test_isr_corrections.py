"""Linearity, crosstalk, fringes and the brighter-fatter effect as steps of the signature removal."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from prompt_processing.images import Exposure, Mask
from prompt_processing.imaging.errors import UnusableCalibrationError
from prompt_processing.imaging.isr.brighter_fatter import correct_brighter_fatter
from prompt_processing.imaging.isr.deferred_charge import (
    DeferredCharge,
    SerialTrap,
    restore_deferred_charge,
)
from prompt_processing.imaging.isr.isr import FurtherCalibrations, IsrOptions, run_isr
from prompt_processing.imaging.isr.linearity import AmplifierLinearity, LookupTable, Polynomial, Splines
from prompt_processing.instruments import Amplifier, Detector, RawFrame, Segment

OPTIONS = IsrOptions(cosmic_rays=None, saturation_growth=0)
ROWS, COLUMNS, OVERSCAN = 120, 100, 20


def two_amplifiers(overscan: int = OVERSCAN) -> Detector:
    def amplifier(name: str, x0: int, flip: bool) -> Amplifier:
        return Amplifier(name, COLUMNS, ROWS, 0, overscan, 0, 0, flip, False, x0, 0, 2.0, 8.0, 200_000.0)

    return Detector(
        0, "det", "", "", "SCIENCE", "", "", 2 * COLUMNS, ROWS, 0.0, 0.0, 0.0,
        (amplifier("A", 0, False), amplifier("B", COLUMNS, True)),
    )  # fmt: skip


def raw_of(signals: dict[str, np.ndarray], detector: Detector, level: float = 900.0) -> RawFrame:
    """Return a raw with signals (ADU, in readout order) above a level."""
    segments = []
    for amplifier in detector.amplifiers:
        data = np.full(amplifier.raw_shape, level)
        data[:, :COLUMNS] += signals[amplifier.name]
        segments.append(Segment.of(amplifier, np.rint(data).astype(np.int32)))
    return RawFrame({"EXPTIME": 1.0}, "any", 0, tuple(segments))


def oriented(signals: dict[str, np.ndarray]) -> np.ndarray:
    return 2.0 * np.concatenate([signals["A"], signals["B"][:, ::-1]], axis=1)


def test_crosstalk_and_curvature_are_undone_in_that_order() -> None:
    rng = np.random.default_rng(1)
    true = {name: rng.uniform(1000, 40_000, (ROWS, COLUMNS)) for name in "AB"}
    quadratic = 2e-6
    # The inverse of true = adu + q adu^2.
    bent = {name: (np.sqrt(1 + 4 * quadratic * s) - 1) / (2 * quadratic) for name, s in true.items()}
    bent["B"] = bent["B"] + 1e-3 * bent["A"]
    further = FurtherCalibrations(dict.fromkeys("AB", Polynomial((quadratic, 0.0))), {("B", "A"): 1e-3})
    detector = two_amplifiers()
    image = run_isr(raw_of(bent, detector), detector, options=OPTIONS, further=further)
    np.testing.assert_allclose(image.image, oriented(true), atol=4)
    assert image.metadata["LSST ISR LINEARITY APPLIED"] is True
    assert image.metadata["LSST ISR CROSSTALK APPLIED"] is True
    assert image.metadata["LSST ISR FRINGE APPLIED"] is False


@pytest.mark.parametrize(
    ("correction", "added"),
    [
        # Each evaluated by hand.
        (Polynomial((1e-6, -2e-12)), [0.0, 98.0, 2.4e4]),
        (Splines([(np.array([0.0, 1e4, 3e4]), np.array([0.0, -50.0, -150.0]))]), [0.0, 50.0, 150.0]),
        (LookupTable(np.array([0.0, 3.0, 7.0]), 0.5), [0.0, 7.0, 7.0]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_forms_of_linearity(correction: AmplifierLinearity, added: list[float]) -> None:
    signal = np.array([0.0, 1e4, 2e5], np.float32)
    np.testing.assert_allclose(correction.correct(signal) - signal, added, atol=0.02)


def test_the_second_spline_corrects_what_the_first_leaves() -> None:
    line = np.array([0.0, 1e3, 2e3])
    both = Splines([(line, line / 2), (line, line / 10)])
    np.testing.assert_allclose(both.correct(np.array([1e3], np.float32)), [450.0])


@pytest.mark.parametrize(
    "make",
    [
        lambda: Polynomial((np.nan,)),
        lambda: Splines([(np.array([0.0, 0.0]), np.zeros(2))]),
        lambda: Splines([(np.array([0.0, np.inf]), np.zeros(2))]),
        lambda: LookupTable(np.array([]), 0.0),
    ],
)
def test_unusable_linearity_is_refused(make: Callable[[], AmplifierLinearity]) -> None:
    with pytest.raises(UnusableCalibrationError, match="linearity"):
        make()


def test_saturated_pixels_stay_saturated_when_the_signal_is_lowered() -> None:
    detector = two_amplifiers()
    signals = {name: np.full((ROWS, COLUMNS), 1000.0) for name in "AB"}
    signals["A"][5, 5] = 100_000
    further = FurtherCalibrations(dict.fromkeys("AB", Polynomial((-1e-6,))))
    image = run_isr(raw_of(signals, detector), detector, options=OPTIONS, further=further)
    assert image.mask[5, 5] & int(Mask.SAT)


def test_without_overscan_the_level_of_the_bias_counts() -> None:
    detector = two_amplifiers(0)
    rng = np.random.default_rng(2)
    true = {name: rng.uniform(1000, 40_000, (ROWS, COLUMNS)) for name in "AB"}
    true["A"][5, 5] = 99_500  # saturated: 200 000 electrons are 100 000 ADU above the level
    quadratic = 1e-6
    bent = {name: (np.sqrt(1 + 4 * quadratic * s) - 1) / (2 * quadratic) for name, s in true.items()}
    bias = Exposure.blank((ROWS, 2 * COLUMNS), metadata={"BUNIT": "adu"})
    bias.image[:] = 900.0
    further = FurtherCalibrations(dict.fromkeys("AB", Polynomial((quadratic, 0.0))))
    image = run_isr(raw_of(bent, detector), detector, bias=bias, options=OPTIONS, further=further)
    np.testing.assert_allclose(image.image, oriented(true), atol=4)
    saturated = run_isr(raw_of(true, detector), detector, bias=bias, options=OPTIONS)
    assert saturated.mask[5, 5] != 0
    assert np.count_nonzero(saturated.mask) == 1


def test_fringes_vanish_and_stars_stay() -> None:
    rng = np.random.default_rng(3)
    pattern = (0.03 * np.sin(np.hypot(*np.mgrid[:ROWS, : 2 * COLUMNS]) / 3)).astype(np.float32)
    sky = 2000.0 * (1 + 0.7 * pattern)
    electrons = sky + rng.normal(0, 20, sky.shape)
    electrons[60:64, 30:34] += 5000
    signals = {"A": electrons[:, :COLUMNS] / 2, "B": electrons[:, COLUMNS:][:, ::-1] / 2}
    detector = two_amplifiers()
    further = FurtherCalibrations(fringe=pattern)
    image = run_isr(raw_of(signals, detector), detector, options=OPTIONS, further=further)
    assert image.metadata["LSST ISR FRINGE AMPLITUDE"] == pytest.approx(0.7, abs=0.05)
    rest = image.image - 2000
    rest[58:66, 28:36] = 0
    assert np.std(rest) == pytest.approx(20, rel=0.05)
    assert image.image[61, 31] > 6500


def test_a_pattern_of_another_shape_is_refused() -> None:
    detector = two_amplifiers()
    raw = raw_of({name: np.zeros((ROWS, COLUMNS)) for name in "AB"}, detector)
    with pytest.raises(UnusableCalibrationError, match="fringe"):
        run_isr(
            raw, detector, options=OPTIONS, further=FurtherCalibrations(fringe=np.zeros((3, 3), np.float32))
        )


def test_the_brighter_fatter_correction_sharpens_stars_and_keeps_their_charge() -> None:
    yy, xx = np.mgrid[:61, :61] - 30.0
    kernel = -6e-7 / (1 + np.hypot(*(np.mgrid[:9, :9] - 4.0)) ** 2)
    star = (50_000 * np.exp(-(xx**2 + yy**2) / (2 * 2.5**2)) + 100).astype(np.float32)
    corrected = star.copy()
    correct_brighter_fatter(corrected, kernel)
    assert corrected.sum() == pytest.approx(star.sum(), rel=1e-3)
    assert corrected[30, 30] > 1.003 * star[30, 30]

    def width(image: np.ndarray) -> float:
        light = image - 100
        return float(np.sum(light * (xx**2 + yy**2)) / np.sum(light))

    assert width(corrected) < 0.995 * width(star)


def test_a_kernel_without_a_centre_is_refused() -> None:
    with pytest.raises(ValueError, match="kernel"):
        correct_brighter_fatter(np.zeros((5, 5), np.float32), np.zeros((4, 4)))


def test_offset_that_a_bright_pixel_leaves_behind_is_removed() -> None:
    decay = np.exp(-1 / 4.0)
    measured = 10_000.0 * np.concatenate([[1.0], 1e-3 * decay ** np.arange(1, 30)])
    signal = np.stack([measured, np.zeros(30)]).astype(np.float32)
    restore_deferred_charge(signal, DeferredCharge(1e-3, 4.0))
    assert signal[0, 0] == pytest.approx(9990.0)
    np.testing.assert_allclose(signal[0, 1:], 0, atol=1e-4)
    # Rows do not touch each other.
    np.testing.assert_array_equal(signal[1], 0)


@pytest.mark.parametrize(
    ("kind", "coefficients"),
    [("linear", [0.1]), ("logistic", [200.0, 0.1]), ("spline", [0.0, 400.0, 1e5, 0.0, 50.0, 50.0])],
)
def test_charge_of_a_trap_goes_back_to_the_pixel_that_lost_it(kind: str, coefficients: list[float]) -> None:
    kept = np.exp(-1 / 0.9)
    lost = 50.0
    trail = lost * (1 - kept) * kept ** np.arange(40)
    signal = np.concatenate([[5000.0 - lost], trail])[np.newaxis].astype(np.float32)
    model = DeferredCharge(trap=SerialTrap(50.0, 0.9, kind, np.array(coefficients)))
    restore_deferred_charge(signal, model)
    assert signal[0, 0] == pytest.approx(5000.0, abs=0.1)
    np.testing.assert_allclose(signal[0, 1:], 0, atol=0.1)


def test_deferred_charge_is_put_back_in_readout_order_and_in_electrons() -> None:
    detector = two_amplifiers()
    signals = {name: np.zeros((ROWS, COLUMNS)) for name in "AB"}
    for signal in signals.values():
        signal[:, 10], signal[:, 11] = 20_000.0, 500.0
    # An offset that is gone at the next pixel.
    model = DeferredCharge(1000.0 / 40_000.0, 1e-3)
    image = run_isr(
        raw_of(signals, detector),
        detector,
        options=OPTIONS,
        further=FurtherCalibrations(deferred_charge={"B": model}),
    )
    expected = {name: signal.copy() for name, signal in signals.items()}
    expected["B"] *= 1 - 1 / 40
    np.testing.assert_allclose(image.image, oriented(expected), atol=1)
    assert image.metadata["LSST ISR DEFERRED CHARGE APPLIED"] is True


@pytest.mark.parametrize(
    ("kind", "size", "time", "message"),
    [
        ("cubic", 1.0, 1.0, "linear, logistic, spline"),
        ("linear", 1.0, 0.0, "time"),
        ("linear", np.nan, 1.0, "nan"),
    ],
)
def test_unusable_trap_is_refused(kind: str, size: float, time: float, message: str) -> None:
    with pytest.raises(UnusableCalibrationError, match=message):
        DeferredCharge(trap=SerialTrap(size, time, kind, np.array([0.1])))
