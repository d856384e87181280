"""Make calibrations of raw bias, dark and flat exposures, in a run that is certified once it is checked."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from astropy.time import Time
from lsst.daf.butler import (  # type: ignore[attr-defined]
    Butler,
    CollectionType,
    DatasetRef,
    MissingCollectionError,
    Timespan,
)

from prompt_processing.butler.collections import Collections
from prompt_processing.domain.errors import RepositoryProblemError
from prompt_processing.instruments.camera import Camera
from prompt_processing.repository.central import register_inputs, register_types
from prompt_processing.repository.chains import add_to_chain
from prompt_processing.repository.task_runs import TaskRun, TaskRunner, run_here

from .plan import PlannedStep, Selection, steps_of

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Step:
    """One task, and what it made.

    Attributes
    ----------
    label
        Label of the task.
    made
        Datasets by type.
    metadata
        The task's metadata by detector, and by filter for flats.
    """

    label: str
    made: Mapping[str, tuple[DatasetRef, ...]]
    metadata: Mapping[tuple[Any, ...], Mapping[str, Any]] = field(default_factory=dict)


@dataclass(slots=True)
class Build:
    """Calibrations that were made, but not yet certified.

    Attributes
    ----------
    run
        Collection of the calibrations.
    steps
        In the order of execution.
    camera
        The camera with measured gains and read noise.
    skipped
        Why a step was left out, by its label.
    """

    run: str
    camera: Camera
    steps: list[Step] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    def refs(self, dataset_type: str) -> tuple[DatasetRef, ...]:
        """Return the datasets of a type."""
        return tuple(ref for step in self.steps for ref in step.made.get(dataset_type, ()))


CERTIFIED = ("bias", "dark", "flat", "defects", "photon_transfer", "linearity", "crosstalk_ratios", "camera")
"""Types of datasets that are certified."""

_OPTIONAL = {
    "fringe": (("instrument", "detector", "physical_filter"), "ExposureF", True),
    "linearity": (("instrument", "detector"), "ArrowAstropy", True),
    "crosstalk_ratios": (("instrument", "detector"), "ArrowAstropy", True),
    "photon_transfer": (("instrument", "detector"), "ArrowAstropy", True),
    "brighter_fatter_kernel": (("instrument", "detector"), "ExposureF", True),
}
"""Dataset types of calibrations that a repository may lack; see `INPUT_DATASET_TYPES`."""


def build_calibrations(
    butler: Butler,
    camera: Camera,
    selection: Selection,
    run: str,
    *,
    least: int = 3,
    run_task: TaskRunner = run_here,
    resume: bool = False,
) -> Build:
    """Make all calibrations that the exposures allow.

    Parameters
    ----------
    butler
        Writeable.
    camera
        The camera, whose gains and read noise serve until they are measured.
    selection
        The exposures.
    run
        New collection of the calibrations.
    least
        Minimum number of exposures of a kind.
    run_task
        Runs each task.
    resume
        Whether the run may exist, from an earlier attempt with the same selection.

    Returns
    -------
    build
        What was made. Nothing is certified.

    Raises
    ------
    RepositoryProblemError
        Raised if the run exists, and is not to be resumed.
    """
    if _exists(butler, run) and not resume:
        raise RepositoryProblemError(f"The run {run} exists already: choose another --name.")
    butler.collections.register(run)
    register_inputs(butler, "camera", "bias", "dark", "flat", "defects")
    register_types(butler, _OPTIONAL)
    builder = _Builder(butler, Build(run, camera), selection, least, run_task)
    builder.put_camera("camera_before")
    for step in steps_of(camera, selection):
        if step.label == "combineFlat":
            builder.measure_camera()
        builder.do(step)
    return builder.build


def require_new(butler: Butler, instrument: str, label: str) -> None:
    """Refuse the name of calibrations that exist already.

    Raises
    ------
    RepositoryProblemError
        Raised if their run or their collection exists.
    """
    collection = f"{Collections(instrument).calib}/{label}"
    for name in (collection, f"{collection}/run"):
        if _exists(butler, name):
            raise RepositoryProblemError(f"The collection {name} exists already: choose another --name.")


def certify(
    butler: Butler,
    build: Build,
    label: str,
    begin: Time | None,
    end: Time | None,
    *,
    resume: bool = False,
) -> str:
    """Certify calibrations, and put them first in the search order.

    Parameters
    ----------
    butler
        Writeable.
    build
        The calibrations.
    label
        Name of the new collection, ``<INSTRUMENT>/calib/<label>``.
    begin, end
        Validity, end excluded; `None` is unbounded.
    resume
        Whether the collection may exist, from an earlier attempt with the same calibrations.

    Returns
    -------
    collection
        The collection.

    Raises
    ------
    RepositoryProblemError
        Raised if the collection exists, and is not to be resumed.
    """
    collections = Collections(build.camera.name)
    collection = f"{collections.calib}/{label}"
    if _exists(butler, collection) and not resume:
        raise RepositoryProblemError(f"The collection {collection} exists already: choose another --name.")
    # The tasks' own dataset types hide from this client that others of their dimensions are calibrations.
    butler.registry.refresh()
    with butler.transaction():
        butler.collections.register(collection, CollectionType.CALIBRATION)
        for dataset_type in CERTIFIED:
            if refs := _uncertified(butler, collection, build.refs(dataset_type)):
                butler.registry.certify(collection, refs, Timespan(begin, end))
    add_to_chain(butler, collections.calib, [collection])
    add_to_chain(butler, collections.defaults, collections.inputs)
    _LOG.info("Certified %s from %s.", collection, build.run)
    return collection


class _Builder:
    def __init__(
        self, butler: Butler, build: Build, selection: Selection, least: int, run_task: TaskRunner
    ) -> None:
        self._butler = butler
        self.build = build
        self._selection = selection
        self._least = least
        self._run_task = run_task
        self._camera_run = ""

    def put_camera(self, name: str) -> DatasetRef:
        """Put the camera into a run of its own, from which the following steps read it."""
        self._camera_run = f"{self.build.run}/{name}"
        self._butler.collections.register(self._camera_run)
        data_id = {"instrument": self.build.camera.name}
        # An earlier attempt put the same camera.
        found = self._butler.find_dataset("camera", data_id, collections=self._camera_run)
        return found or self._butler.put(self.build.camera, "camera", data_id, run=self._camera_run)

    def measure_camera(self) -> None:
        """Give the camera the gains and read noise that were measured."""
        tables = {
            int(ref.dataId["detector"]): self._butler.get(ref) for ref in self.build.refs("photon_transfer")
        }
        if tables:
            self.build.camera = with_measured_values(self.build.camera, tables)
        ref = self.put_camera("camera")
        self.build.steps.append(Step("measureCamera", {"camera": (ref,)}))

    def do(self, step: PlannedStep) -> None:
        """Run a task on the exposures of its kinds, if there are enough."""
        if reason := step.skipped(self._selection, self._least):
            self.build.skipped[step.label] = reason
            return
        chosen = step.exposures(self._selection)
        where = [f"instrument = '{self.build.camera.name}'"]
        if chosen:
            where.append(f"exposure IN ({_list(chosen)})")
        detectors = self._selection.detectors or (
            () if chosen else self._detectors_with("bias", "dark", "flat")
        )
        if not (chosen or detectors):
            self.build.skipped[step.label] = "no combined frames"
            return
        if detectors:
            where.append(f"detector IN ({_list(detectors)})")
        inputs = (self._camera_run, self.build.run, Collections(self.build.camera.name).raw)
        label = step.label
        self._run_task(self._butler, TaskRun(step.task, label, " AND ".join(where), inputs, self.build.run))
        made = {
            name: tuple(
                self._butler.query_datasets(name, collections=self.build.run, explain=False, limit=None)
            )
            for name in step.outputs
        }
        metadata = {
            _key(ref): self._butler.get(ref).to_dict()
            for ref in self._butler.query_datasets(
                f"{label}_metadata", collections=self.build.run, explain=False, limit=None
            )
        }
        self.build.steps.append(Step(label, made, metadata))

    def _detectors_with(self, *dataset_types: str) -> tuple[int, ...]:
        found = {int(ref.dataId["detector"]) for name in dataset_types for ref in self.build.refs(name)}
        return tuple(sorted(found))


def with_measured_values(camera: Camera, tables: Mapping[int, Any]) -> Camera:
    """Return a camera with the gains and read noise of photon-transfer tables.

    Parameters
    ----------
    camera
        The camera. The saturation, in electrons, changes with the gain: the converter's limit stays.
    tables
        Table by detector; rows of the method ``nominal`` change nothing.
    """
    detectors = dict(camera.detectors)
    for id_, table in tables.items():
        measured = {str(row["amplifier"]): row for row in table if str(row["method"]) != "nominal"}
        detector = detectors[id_]
        amplifiers = []
        for amplifier in detector.amplifiers:
            row = measured.get(amplifier.name)
            if row is None:
                amplifiers.append(amplifier)
                continue
            gain = float(row["gain"])
            amplifiers.append(
                replace(
                    amplifier,
                    gain=round(gain, 5),
                    read_noise=round(float(row["read_noise"]), 4),
                    saturation=float(amplifier.saturation * gain / amplifier.gain),
                )
            )
        detectors[id_] = replace(detector, amplifiers=tuple(amplifiers))
    return replace(camera, detectors=detectors)


def _uncertified(butler: Butler, collection: str, refs: tuple[DatasetRef, ...]) -> tuple[DatasetRef, ...]:
    """Return the datasets that an earlier attempt has not certified."""
    if not refs:
        return ()
    known = butler.query_datasets(
        refs[0].datasetType.name, collections=collection, find_first=False, explain=False, limit=None
    )
    ids = {ref.id for ref in known}
    return tuple(ref for ref in refs if ref.id not in ids)


def _list(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


def _key(ref: DatasetRef) -> tuple[Any, ...]:
    data_id = ref.dataId
    return tuple(
        data_id[name] for name in ("detector", "physical_filter") if name in data_id.dimensions.names
    )


def _exists(butler: Butler, collection: str) -> bool:
    try:
        butler.collections.get_info(collection)
    except MissingCollectionError:
        return False
    return True
