"""Calibrations in the layouts of the Rubin stack's ``ip_isr``, as the signature removal uses them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from prompt_processing.images.afw.calibrations import (
    Crosstalk,
    IsrCalibration,
    Linearizer,
    PhotonTransfer,
    read_isr_calibration,
    read_photon_transfer,
)
from prompt_processing.imaging.errors import UnusableCalibrationError
from prompt_processing.imaging.isr.linearity import Polynomial
from prompt_processing.instruments.camera import load_camera
from prompt_processing.tasks.isr import IsrConfig, IsrTask
from prompt_processing.tasks.stack_calibrations import (
    brighter_fatter_kernel,
    crosstalk_ratios,
    deferred_charge,
    linearity_of_stack,
    with_gain_correction,
    with_photon_transfer,
)

DETECTOR = load_camera("LSSTCam").detector(94)
NAMES = ["C10", "C11", "C12"]
KERNEL = -1e-7 * np.outer(np.hanning(7), np.hanning(7))


def write(path: Path, *tables: Table) -> Path:
    fits.HDUList([fits.PrimaryHDU(), *map(fits.table_to_hdu, tables)]).writeto(path)
    return path


def read(path: Path, *tables: Table) -> IsrCalibration:
    return read_isr_calibration(write(path, *tables))


def test_gains_and_noise_are_those_of_ptc_times_the_correction(tmp_path: Path) -> None:
    ptc = read_photon_transfer(
        write(
            tmp_path / "ptc.fits",
            Table(
                {
                    "AMPLIFIER_NAME": NAMES, "GAIN": [1.5, np.nan, 1.7], "NOISE": [6.0, 7.0, np.nan],
                    "PTC_TURNOFF": [1.2e5] * 3, "BAD_AMPS": [["C12"]] * 3,
                },
                meta={"OBSTYPE": "PTC"},
            ),
        )
    )  # fmt: skip
    factors = read(
        tmp_path / "gain.fits",
        Table({"AMP_NAME": NAMES, "GAIN_ADJUSTMENT": [1.01, 0.99, 1.0]}, meta={"OBSTYPE": "gainCorrection"}),
    )
    found = with_gain_correction(with_photon_transfer(DETECTOR, ptc), factors)
    first, second, third = (found.amplifier(f"Segment{name[1:]}") for name in NAMES)
    nominal = [DETECTOR.amplifier(f"Segment{name[1:]}") for name in NAMES]
    assert (first.gain, first.read_noise) == pytest.approx((1.5 * 1.01, 6.0))
    # What was not measured, and bad amplifiers, keep the camera's.
    assert second.gain == pytest.approx(0.99 * nominal[1].gain)
    assert (third.gain, third.read_noise) == pytest.approx((nominal[2].gain, nominal[2].read_noise))
    for one, before in zip((first, second, third), nominal, strict=True):
        # It is known in counts.
        assert one.saturation / one.gain == pytest.approx(before.saturation / before.gain)


def bfk(path: Path, level: str, *tables: Table, **meta: Any) -> IsrCalibration:
    for table in tables:
        table.meta |= {"OBSTYPE": "bfk", "LEVEL": level, "HIERARCH KERNEL_DX": 7, "HIERARCH KERNEL_DY": 7}
    return read(path, *tables)


@pytest.mark.parametrize(("turnoff", "lower"), [(5e4, True), (9e9, False), (float("nan"), False)])
def test_pixels_above_the_turnoff_of_ptc_are_saturated(turnoff: float, *, lower: bool) -> None:
    before = DETECTOR.amplifier("Segment10")
    ptc = PhotonTransfer({"C10": 1.5}, {}, {"C10": turnoff}, frozenset(), {})
    after = with_photon_transfer(DETECTOR, ptc).amplifier("Segment10")
    level = turnoff if lower else before.saturation / before.gain
    assert after.saturation / after.gain == pytest.approx(level)


def test_crosstalk_is_from_the_columns_to_the_rows_amplifier() -> None:
    names = [one.name for one in DETECTOR.amplifiers]
    coefficients = np.zeros((len(names), len(names)))
    coefficients[0, 3], coefficients[2, 1], coefficients[5, 5] = 1e-4, np.nan, 1.0
    ratios = crosstalk_ratios(Crosstalk(coefficients, None, {}, "adu", {}), DETECTOR)
    assert ratios == {(names[0], names[3]): 1e-4}


def test_crosstalk_of_electrons_is_scaled_by_the_gains() -> None:
    detector = with_photon_transfer(DETECTOR, PhotonTransfer({"C11": 3.0}, {}, {}, frozenset(), {}))
    first, second = detector.amplifiers[:2]
    coefficients = np.full((len(detector.amplifiers),) * 2, 1e-4)
    ratios = crosstalk_ratios(Crosstalk(coefficients, None, {}, "electron", {}), detector)
    assert ratios[first.name, second.name] == pytest.approx(1e-4 * 3.0 / first.gain)


# In ADU, of a signal of 20 000 ADU, by the formulas that `lsst.ip.isr` documents.
LINEARIZERS = {
    "Squared": ([1e-6, np.nan], 400.0),
    "Polynomial": ([1e-6, -2e-11], 400.0 - 160.0),
    "Spline": ([1e3, 2e4, 9e4, 7.0, 27.0, 27.0], -20.0),
    "DoubleSpline": ([2, 2, 0.0, 4e4, 0.0, 40.0, 0.0, 4e4, 0.0, 80.0], -20.0 - 39.96),
    "LookupTable": ([1, -19_998], 5.0),
    "Proportional": ([0.0], 0.0),
    "None": ([0.0], 0.0),
}


def linearizer(kinds: dict[str, str], coefficients: dict[str, list[float]], unit: str = "adu") -> Linearizer:
    table = np.array([[0.0] * 4, [0.0, 3.0, 5.0, 7.0]])
    arrays = {name: np.array(values) for name, values in coefficients.items()}
    return Linearizer(kinds, arrays, unit, table, {"HAS_LINEARITY": True})


@pytest.mark.parametrize("form", LINEARIZERS)
def test_linearizers_of_each_form_are_applied(form: str) -> None:
    coefficients, added = LINEARIZERS[form]
    found = linearity_of_stack(linearizer({"C10": form}, {"C10": coefficients}), DETECTOR)
    signal = np.array([[0.0, 2e4]], np.float32)
    corrected = found["Segment10"].correct(signal) if added else signal
    assert found.keys() == ({"Segment10"} if added else set())
    np.testing.assert_allclose(corrected - signal, [[0.0, added]], atol=0.01)


@pytest.mark.parametrize("form", ["Polynomial", "Spline", "DoubleSpline"])
def test_linearizers_of_electrons_correct_the_same_charge(form: str) -> None:
    coefficients, added = LINEARIZERS[form]
    found = linearity_of_stack(linearizer({"C10": form}, {"C10": coefficients}, "electron"), DETECTOR)
    gain = DETECTOR.amplifier("Segment10").gain
    signal = np.array([2e4 / gain], np.float32)
    np.testing.assert_allclose(gain * (found["Segment10"].correct(signal) - signal), [added], atol=0.01)


def test_amplifiers_with_unusable_linearizers_are_left_as_they_are(caplog: pytest.LogCaptureFixture) -> None:
    bad = {
        "C10": ("Spline", [np.nan, np.nan]), "C11": ("Spline", [0.0, 1e3, 5.0]), "C12": ("Wavelet", [1.0]),
        "C13": ("LookupTable", [2, 0]), "C14": ("DoubleSpline", [4, 4, 0.0]),
        "C15": ("Polynomial", [np.nan, 1.0]), "C16": ("Squared", [2e-6]),
    }  # fmt: skip
    kinds, coefficients = ({name: one[k] for name, one in bad.items()} for k in (0, 1))
    found = linearity_of_stack(linearizer(kinds, coefficients), DETECTOR)
    assert found == {"Segment16": Polynomial((2e-6,))}
    for name in list(bad)[:-1]:
        assert f"Segment{name[1:]} of R22_S11 is not made linear: " in caplog.text
    assert "linearizer has no amplifier Segment17" in caplog.text


def test_linearizers_of_other_detectors_and_units_are_refused() -> None:
    with pytest.raises(UnusableCalibrationError, match="no amplifier of R22_S11"):
        linearity_of_stack(linearizer({"A": "Squared"}, {"A": [1e-6]}), DETECTOR)
    with pytest.raises(UnusableCalibrationError, match="'furlong'"):
        linearity_of_stack(linearizer({"C10": "Squared"}, {"C10": [1e-6]}, "furlong"), DETECTOR)


@pytest.mark.parametrize(("count", "unit"), [(3, "adu"), (len(DETECTOR.amplifiers), "furlong")])
def test_crosstalk_of_another_form_is_refused(count: int, unit: str) -> None:
    with pytest.raises(UnusableCalibrationError, match="crosstalk"):
        crosstalk_ratios(Crosstalk(np.ones((count, count)), None, {}, unit, {}), DETECTOR)


def test_kernel_is_that_of_the_detector(tmp_path: Path) -> None:
    amplifiers = Table({"AMPLIFIER": NAMES, "KERNEL": np.zeros((3, 49)), "VALID": [1, 1, 1]})
    detectors = Table({"DETECTOR": ["R22_S10", "R22_S11"], "KERNEL": [np.zeros(49), KERNEL.ravel()]})
    found = brighter_fatter_kernel(bfk(tmp_path / "b.fits", "DETECTOR", amplifiers, detectors), "R22_S11")
    np.testing.assert_allclose(found, KERNEL)


def test_kernel_is_the_mean_of_valid_amplifiers(tmp_path: Path) -> None:
    kernels = [0.5 * KERNEL.ravel(), 1.5 * KERNEL.ravel(), np.ones(49)]
    amplifiers = Table({"AMPLIFIER": NAMES, "KERNEL": kernels, "VALID": [1, 1, 0]})
    found = brighter_fatter_kernel(bfk(tmp_path / "b.fits", "AMP", amplifiers), "R22_S11")
    np.testing.assert_allclose(found, KERNEL)
    amplifiers["VALID"] = 0
    with pytest.raises(UnusableCalibrationError, match="none of its amplifiers is valid"):
        brighter_fatter_kernel(bfk(tmp_path / "c.fits", "AMP", amplifiers), "R22_S11")


def test_deferred_charge_is_read_by_amplifier(tmp_path: Path) -> None:
    amplifiers = Table(
        {
            "AMPLIFIER": NAMES[:2], "DRIFT_SCALE": [2e-4, 0.0], "DECAY_TIME": [2.4, np.nan],
            "GLOBAL_CTI": [1e-6, 2e-6],
        },
        meta={"OBSTYPE": "CTI"},
    )  # fmt: skip
    traps = Table(
        {
            "AMPLIFIER": NAMES[:2], "SIZE": [20.0, 30.0], "EMISSION_TIME": [0.4, 0.5], "PIXEL": [1, 1],
            "TYPE": ["linear", "spline"], "COEFFS": [[0.1, np.nan, np.nan, np.nan], [0.0, 1e3, 0.0, 5.0]],
        }
    )  # fmt: skip
    found = deferred_charge(read(tmp_path / "cti.fits", amplifiers, traps))
    first, second = found["Segment10"], found["Segment11"]
    assert (first.drift_scale, first.decay_time, first.global_cti) == (2e-4, 2.4, 1e-6)
    assert first.trap is not None
    assert (first.trap.size, first.trap.emission_time, first.trap.kind) == (20.0, 0.4, "linear")
    assert first.trap.coefficients.tolist() == [0.1]
    assert second.trap is not None
    assert second.trap.coefficients.tolist() == [0.0, 1e3, 0.0, 5.0]
    # Without traps, as some files are.
    assert deferred_charge(read(tmp_path / "no.fits", amplifiers))["Segment10"].trap is None


@pytest.mark.parametrize("convert", [deferred_charge, partial(with_gain_correction, DETECTOR)])
def test_other_tables_are_refused_by_their_columns(tmp_path: Path, convert: Any) -> None:
    with pytest.raises(UnusableCalibrationError, match="in its table, but X"):
        convert(read(tmp_path / "x.fits", Table({"X": [1.0]})))


def test_what_cannot_be_used_stops_no_visit(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Files of other versions, or damaged ones, are left out with a warning."""

    factors = Table({"AMP_NAME": ["C10"], "GAIN_ADJUSTMENT": [1.01]}, meta={"OBSTYPE": "gainCorrection"})
    nothing = PhotonTransfer({"C10": float("nan")}, {}, {}, frozenset(), {})
    config: Any = IsrConfig
    task: Any = IsrTask(config=config())
    detector, applied = task._with_gains(DETECTOR, nothing, read(tmp_path / "g.fits", factors))
    assert detector.amplifier("Segment10").gain == 1.01 * DETECTOR.amplifier("Segment10").gain
    assert applied == {"PTC": False, "GAIN CORRECTION": True}
    assert "PTC of another stack is not applied: ptc has no gain of any amplifier of R22_S11" in caplog.text
