"""Choose the exposures that calibrations are made of, and the steps of their making."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from astropy.time import Time
from lsst.daf.butler import Butler
from lsst.pipe.base import PipelineTask

from prompt_processing.butler.collections import Collections
from prompt_processing.domain.errors import RepositoryProblemError
from prompt_processing.instruments.camera import Camera
from prompt_processing.tasks.characterize_detector import (
    FindDefectsTask,
    MeasureCrosstalkTask,
    PhotonTransferTask,
)
from prompt_processing.tasks.combine_calibrations import CombineBiasTask, CombineDarkTask, CombineFlatTask

__all__ = ["KINDS", "PlannedStep", "Selection", "noon_before", "quanta_of", "select_exposures", "steps_of"]

KINDS = ("bias", "dark", "flat")
"""Types of observations that calibrations are made of."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Exposures that calibrations are made of.

    Attributes
    ----------
    exposures
        Ids by type of observation (`KINDS`), and ``science`` if crosstalk is to be measured.
    detectors
        Detectors; all by default.
    """

    exposures: Mapping[str, tuple[int, ...]]
    detectors: tuple[int, ...] = ()
    first: Time | None = None
    """Begin of the earliest exposure, TAI."""


def select_exposures(
    butler: Butler,
    instrument: str,
    nights: tuple[int, int] | None = None,
    detectors: Sequence[int] = (),
    science: bool = False,
) -> Selection:
    """Find the calibration exposures of a repository.

    Parameters
    ----------
    butler
        The repository.
    instrument
        Short name.
    nights
        First and last ``day_obs``, both included; all by default.
    detectors
        Detectors; all by default.
    science
        Whether to include science exposures, for crosstalk.

    Raises
    ------
    RepositoryProblemError
        Raised if the repository has no such exposures.
    """
    found: dict[str, list[int]] = {"science": []} if science else {}
    first: Time | None = None
    others: set[str] = set()
    kinds = (*KINDS, "science") if science else KINDS
    for record in butler.query_dimension_records(
        "exposure", instrument=instrument, explain=False, limit=None
    ):
        if nights is not None and not nights[0] <= record.day_obs <= nights[1]:
            continue
        if record.observation_type not in kinds:
            others.add(record.observation_type)
            continue
        found.setdefault(record.observation_type, []).append(int(record.id))
        begin = record.timespan.begin
        if record.observation_type != "science" and (first is None or begin < first):
            first = begin
    if not set(found) & set(KINDS):
        raise RepositoryProblemError(
            f"The repository has no bias, dark or flat exposures of {instrument}"
            + ("" if nights is None else f" between {nights[0]} and {nights[1]}")
            + f": import them with prompt repo import-raws{_other_kinds(others)}."
        )
    return Selection({kind: tuple(sorted(ids)) for kind, ids in found.items()}, tuple(detectors), first)


def _other_kinds(others: set[str]) -> str:
    if not others:
        return ""
    return (
        f", with --type bias, dark or flat for each folder if the headers do not say so "
        f"(it has {', '.join(sorted(others))} exposures)"
    )


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A task of a build, and what it is made of.

    Attributes
    ----------
    kinds
        Types of observation of its exposures; none for a task that reads only calibrations.
    outputs
        Types of the datasets that it makes.
    """

    task: type[PipelineTask]
    label: str
    kinds: tuple[str, ...]
    outputs: tuple[str, ...]

    def exposures(self, selection: Selection) -> tuple[int, ...]:
        """Return the exposures that it reads."""
        return tuple(x for kind in self.kinds for x in selection.exposures.get(kind, ()))

    def skipped(self, selection: Selection, least: int) -> str:
        """Return why it is left out; empty if there are enough exposures."""
        chosen = self.exposures(selection)
        for kind in self.kinds:
            number = len(selection.exposures.get(kind, ()))
            enough = 1 if kind == "science" else least
            if (number < enough and kind != "bias") or not chosen:
                return f"{number} {kind} exposures; at least {enough} {'is' if enough == 1 else 'are'} needed"
        return ""


def steps_of(camera: Camera, selection: Selection) -> tuple[PlannedStep, ...]:
    """Return the steps of a camera's calibrations, in the order of execution.

    Crosstalk is measured between the amplifiers of a detector, if the selection includes science exposures.
    """
    steps = (
        PlannedStep(CombineBiasTask, "combineBias", ("bias",), ("bias",)),
        PlannedStep(CombineDarkTask, "combineDark", ("dark",), ("dark",)),
        PlannedStep(PhotonTransferTask, "photonTransfer", ("bias", "flat"), ("photon_transfer", "linearity")),
        # From here on with the measured gains.
        PlannedStep(CombineFlatTask, "combineFlat", ("flat",), ("flat",)),
        PlannedStep(FindDefectsTask, "findDefects", (), ("defects",)),
        PlannedStep(MeasureCrosstalkTask, "measureCrosstalk", ("science",), ("crosstalk_ratios",)),
    )
    most = max((len(detector.amplifiers) for detector in camera.detectors.values()), default=1)
    return steps if most > 1 and "science" in selection.exposures else steps[:-1]


def quanta_of(butler: Butler, instrument: str, selection: Selection, step: PlannedStep) -> int:
    """Return the number of quanta of a step: one a detector, or one a detector and filter for flats.

    Parameters
    ----------
    butler
        The repository; only raws are looked at.
    """
    chosen = set(step.exposures(selection)) or {
        x for kind in KINDS for x in selection.exposures.get(kind, ())
    }
    filters = {
        int(record.id): str(record.physical_filter)
        for record in butler.query_dimension_records(
            "exposure", instrument=instrument, explain=False, limit=None
        )
        if int(record.id) in chosen
    }
    raws = butler.query_datasets(
        "raw", collections=Collections(instrument).raw, instrument=instrument, explain=False, limit=None
    )
    found = {
        (int(ref.dataId["detector"]), filters[int(ref.dataId["exposure"])] if "flat" in step.outputs else "")
        for ref in raws
        if int(ref.dataId["exposure"]) in chosen
    }
    return sum(1 for detector, _ in found if not selection.detectors or detector in selection.detectors)


def noon_before(first: Time | None) -> Time | None:
    """Return the begin of the observing day of a time."""
    if first is None:
        return None
    return Time(int(first.tai.mjd - 0.5) + 0.5, format="mjd", scale="tai")
