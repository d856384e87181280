"""What a worker remembers of the central repository's answers, and for how long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest
from astropy.time import Time, TimeDelta
from lsst.daf.butler import DataCoordinate, DatasetRef, DatasetType, DimensionUniverse, Timespan

from prompt_processing.activator.storage.known_inputs import LIFETIME, KnownInputs, best_calibrations
from prompt_processing.butler.central import CentralRepository
from prompt_processing.butler.local.repository import Certified

UNIVERSE = DimensionUniverse()
BIAS = DatasetType("bias", ("instrument", "detector"), "ExposureF", universe=UNIVERSE, isCalibration=True)
CAMERA = DatasetType("camera", ("instrument",), "StructuredDataDict", universe=UNIVERSE, isCalibration=True)
SKY_MAP = DatasetType("skyMap", ("skymap",), "StructuredDataDict", universe=UNIVERSE)
NIGHT = Time("2026-11-21T03:00:00", scale="tai")
ORDER = ("new", "old")


def hours(begin: float, end: float | None) -> Timespan:
    """Times relative to the night's."""
    at = [None if hour is None else NIGHT + TimeDelta(hour * 3600, format="sec") for hour in (begin, end)]
    return Timespan(*at)


def certified(detector: int, timespan: Timespan, collection: str = "old") -> Certified:
    data_id = DataCoordinate.standardize(instrument="LSSTCam", detector=detector, universe=UNIVERSE)
    return Certified(DatasetRef(BIAS, data_id, run="calib/run"), collection, timespan)


class Central:
    """Knows what it is given, and counts how often it is asked."""

    def __init__(self, *known: Certified) -> None:
        self.known = list(known)
        self.asked = 0

    def find_calibrations(
        self, dataset_type: DatasetType, data_id: Mapping[str, Any], when: Timespan, order: Sequence[str]
    ) -> list[Certified]:
        assert "detector" not in data_id
        self.asked += 1
        return [
            one
            for one in self.known
            if one.ref.datasetType == dataset_type
            and one.timespan is not None
            and one.timespan.overlaps(when)
        ]

    def find_datasets(
        self, dataset_type: DatasetType, data_id: Mapping[str, Any], order: Sequence[str]
    ) -> list[DatasetRef]:
        self.asked += 1
        identity = DataCoordinate.standardize(skymap=data_id["skymap"], universe=UNIVERSE)
        return [DatasetRef(dataset_type, identity, run="skymaps")]


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def make(central: Central) -> tuple[KnownInputs, Clock]:
    clock = Clock()
    return KnownInputs(cast(CentralRepository, central), now=clock), clock


def bias_of(known: KnownInputs, detector: int, when: Timespan | None = None) -> list[Certified]:
    data_id = {"instrument": "LSSTCam", "detector": detector, "skymap": "s"}
    return known.calibrations(BIAS, data_id, when or hours(0, 0.01), ORDER)


def test_all_detectors_are_answered_from_one_question() -> None:
    central = Central(*(certified(detector, hours(-24, None)) for detector in range(189)))
    known, _ = make(central)
    for detector in range(189):
        (found,) = bias_of(known, detector)
        assert found.ref.dataId["detector"] == detector
    assert bias_of(known, 300) == []
    assert central.asked == 1


def test_new_calibration_is_found_after_the_lifetime_of_an_answer() -> None:
    central = Central()
    known, clock = make(central)
    assert bias_of(known, 94) == []
    central.known.append(certified(94, hours(-24, None)))
    clock.seconds = LIFETIME - 1
    assert bias_of(known, 94) == []
    clock.seconds = LIFETIME
    assert len(bias_of(known, 94)) == 1


def test_visit_of_another_time_is_asked_for() -> None:
    central = Central(certified(94, hours(-240, -200)), certified(94, hours(-24, None)))
    known, _ = make(central)
    assert bias_of(known, 94) == [central.known[1]]
    assert bias_of(known, 94, hours(-220, -219.9)) == [central.known[0]]
    assert central.asked == 2


@pytest.mark.parametrize("order", [1, -1])
def test_validity_of_each_visit_decides_within_one_answer(order: int) -> None:
    before, after = certified(94, hours(-240, 1)), certified(94, hours(1, None))
    central = Central(*(before, after)[::order])
    known, _ = make(central)
    assert bias_of(known, 94, hours(0, 0.5)) == [before]
    assert bias_of(known, 94, hours(1.5, 2)) == [after]
    # The one that holds when the visit begins.
    assert bias_of(known, 94, hours(0.9, 1.1)) == [before]
    assert central.asked == 1


def test_first_collection_wins() -> None:
    central = Central(certified(94, hours(-24, None)), certified(94, hours(-1, None), "new"))
    known, _ = make(central)
    assert [found.collection for found in bias_of(known, 94)] == ["new"]


@pytest.mark.parametrize("order", [1, -1])
def test_calibration_without_a_validity_range_is_older_than_all_others(order: int) -> None:
    always, later = certified(94, hours(-24, None)), certified(94, hours(-1, None))
    always = Certified(always.ref, always.collection, None)
    data_id = {"instrument": "LSSTCam", "detector": 94}
    assert best_calibrations([always, later][::order], data_id, hours(0, 0.01), ORDER) == [always]


def test_calibration_of_no_detector_is_every_detectors() -> None:
    data_id = DataCoordinate.standardize(instrument="LSSTCam", universe=UNIVERSE)
    camera = Certified(DatasetRef(CAMERA, data_id, run="r"), "old", hours(-24, None))
    known, _ = make(Central(camera))
    wanted = {"instrument": "LSSTCam", "detector": 7}
    assert known.calibrations(CAMERA, wanted, hours(0, 1), ORDER) == [camera]


def test_datasets_without_place_are_asked_for_once_each() -> None:
    central = Central()
    known, clock = make(central)
    for detector in range(3):
        (found,) = known.datasets(SKY_MAP, {"skymap": "s", "detector": detector}, ORDER)
    assert central.asked == 1
    (other,) = known.datasets(SKY_MAP, {"skymap": "t", "detector": 0}, ORDER)
    assert other.dataId["skymap"] == "t"
    assert found.dataId["skymap"] == "s"
    clock.seconds = LIFETIME
    known.datasets(SKY_MAP, {"skymap": "s"}, ORDER)
    assert central.asked == 3


@pytest.mark.parametrize("forgotten", [False, True])
def test_what_is_forgotten_is_asked_for_anew(forgotten: bool) -> None:
    central = Central(certified(94, hours(-24, None)))
    known, _ = make(central)
    bias_of(known, 94)
    if forgotten:
        known.forget()
    bias_of(known, 94)
    assert central.asked == 1 + forgotten
