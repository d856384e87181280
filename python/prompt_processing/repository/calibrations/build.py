"""Make calibrations of raw bias, dark and flat exposures, in a run that is certified once it is checked."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
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
from lsst.pipe.base import PipelineTask
from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor

from prompt_processing.butler.collections import Collections
from prompt_processing.domain.errors import RepositoryProblemError
from prompt_processing.instruments.camera import Camera
from prompt_processing.repository.central import register_inputs, register_types
from prompt_processing.repository.chains import add_to_chain
from prompt_processing.tasks.characterize_detector import (
    FindDefectsTask,
    MeasureCrosstalkTask,
    PhotonTransferTask,
)
from prompt_processing.tasks.combine_calibrations import CombineBiasTask, CombineDarkTask, CombineFlatTask

_LOG = logging.getLogger(__name__)

KINDS = ("bias", "dark", "flat")
"""Types of observations that calibrations are made of."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Exposures that calibrations are made of.

    Attributes
    ----------
    exposures
        Ids by type of observation (`KINDS`), and ``science`` for crosstalk.
    detectors
        Detectors; all by default.
    """

    exposures: Mapping[str, tuple[int, ...]]
    detectors: tuple[int, ...] = ()
    first: Time | None = None
    """Begin of the earliest exposure, TAI."""


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
    found: dict[str, list[int]] = {}
    first: Time | None = None
    kinds = (*KINDS, "science") if science else KINDS
    for record in butler.query_dimension_records(
        "exposure", instrument=instrument, explain=False, limit=None
    ):
        if nights is not None and not nights[0] <= record.day_obs <= nights[1]:
            continue
        if record.observation_type not in kinds:
            continue
        found.setdefault(record.observation_type, []).append(int(record.id))
        begin = record.timespan.begin
        if record.observation_type != "science" and (first is None or begin < first):
            first = begin
    if not set(found) & set(KINDS):
        raise RepositoryProblemError(
            f"The repository has no bias, dark or flat exposures of {instrument}"
            + ("" if nights is None else f" between {nights[0]} and {nights[1]}")
            + ": import them with prompt repo import-raws."
        )
    return Selection({kind: tuple(sorted(ids)) for kind, ids in found.items()}, tuple(detectors), first)


def build_calibrations(
    butler: Butler, camera: Camera, selection: Selection, run: str, *, least: int = 3
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

    Returns
    -------
    build
        What was made. Nothing is certified.

    Raises
    ------
    RepositoryProblemError
        Raised if the run exists.
    """
    if _exists(butler, run):
        raise RepositoryProblemError(f"The run {run} exists already.")
    butler.collections.register(run)
    register_inputs(butler, "camera", "bias", "dark", "flat", "defects")
    register_types(butler, _OPTIONAL)
    builder = _Builder(butler, Build(run, camera), selection, least)
    builder.put_camera("camera_before")
    builder.do(CombineBiasTask, "combineBias", ("bias",), ("bias",))
    builder.do(CombineDarkTask, "combineDark", ("dark",), ("dark",))
    builder.do(PhotonTransferTask, "photonTransfer", ("bias", "flat"), ("photon_transfer", "linearity"))
    builder.measure_camera()
    builder.do(CombineFlatTask, "combineFlat", ("flat",), ("flat",))
    builder.do(FindDefectsTask, "findDefects", (), ("defects",))
    if max((len(detector.amplifiers) for detector in camera.detectors.values()), default=1) > 1:
        builder.do(MeasureCrosstalkTask, "measureCrosstalk", ("science",), ("crosstalk_ratios",))
    return builder.build


def certify(butler: Butler, build: Build, label: str, begin: Time | None, end: Time | None) -> str:
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

    Returns
    -------
    collection
        The collection.

    Raises
    ------
    RepositoryProblemError
        Raised if the collection exists.
    """
    collections = Collections(build.camera.name)
    collection = f"{collections.calib}/{label}"
    if _exists(butler, collection):
        raise RepositoryProblemError(f"The collection {collection} exists already: choose another --name.")
    # The tasks' own dataset types hide from this client that others of their dimensions are calibrations.
    butler.registry.refresh()
    with butler.transaction():
        butler.collections.register(collection, CollectionType.CALIBRATION)
        for dataset_type in CERTIFIED:
            if refs := build.refs(dataset_type):
                butler.registry.certify(collection, refs, Timespan(begin, end))
    add_to_chain(butler, collections.calib, [collection])
    add_to_chain(butler, collections.defaults, collections.inputs)
    _LOG.info("Certified %s from %s.", collection, build.run)
    return collection


class _Builder:
    def __init__(self, butler: Butler, build: Build, selection: Selection, least: int) -> None:
        self._butler = butler
        self.build = build
        self._selection = selection
        self._least = least
        self._camera_run = ""

    def put_camera(self, name: str) -> DatasetRef:
        """Put the camera into a run of its own, from which the following steps read it."""
        self._camera_run = f"{self.build.run}/{name}"
        self._butler.collections.register(self._camera_run)
        return self._butler.put(
            self.build.camera, "camera", instrument=self.build.camera.name, run=self._camera_run
        )

    def measure_camera(self) -> None:
        """Give the camera the gains and read noise that were measured."""
        tables = {
            int(ref.dataId["detector"]): self._butler.get(ref) for ref in self.build.refs("photon_transfer")
        }
        if tables:
            self.build.camera = with_measured_values(self.build.camera, tables)
        ref = self.put_camera("camera")
        self.build.steps.append(Step("measureCamera", {"camera": (ref,)}))

    def do(self, task: type[PipelineTask], label: str, kinds: Iterable[str], outputs: Iterable[str]) -> None:
        """Run a task on the exposures of some kinds; none means that it reads only calibrations."""
        kinds = tuple(kinds)
        chosen = tuple(x for kind in kinds for x in self._selection.exposures.get(kind, ()))
        for kind in kinds:
            number = len(self._selection.exposures.get(kind, ()))
            least = 1 if kind == "science" else self._least
            if (number < least and kind != "bias") or not chosen:
                self.build.skipped[label] = f"{number} {kind} exposures; at least {least} are needed"
                return
        where, bind = "instrument = the_instrument", {"the_instrument": self.build.camera.name}
        if chosen:
            where += " AND exposure IN (:the_exposures)"
            bind["the_exposures"] = chosen  # type: ignore[assignment]
        if self._selection.detectors:
            where += " AND detector IN (:the_detectors)"
            bind["the_detectors"] = self._selection.detectors  # type: ignore[assignment]
        elif not chosen:
            where += " AND detector IN (:the_detectors)"
            bind["the_detectors"] = tuple(self._detectors_with("bias", "dark", "flat"))  # type: ignore[assignment]
        inputs = [self._camera_run, self.build.run, Collections(self.build.camera.name).raw]
        own = self._butler.clone(collections=inputs, run=self.build.run)
        executor = SimplePipelineExecutor.from_task_class(
            task, label=label, where=where, bind=bind, butler=own
        )
        executor.run(register_dataset_types=True, save_versions=False)
        made = {
            name: tuple(
                self._butler.query_datasets(name, collections=self.build.run, explain=False, limit=None)
            )
            for name in outputs
        }
        metadata = {
            _key(ref): self._butler.get(ref).to_dict()
            for ref in self._butler.query_datasets(
                f"{label}_metadata", collections=self.build.run, explain=False, limit=None
            )
        }
        self.build.steps.append(Step(label, made, metadata))

    def _detectors_with(self, *dataset_types: str) -> list[int]:
        return sorted(
            {int(ref.dataId["detector"]) for name in dataset_types for ref in self.build.refs(name)}
        )


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
