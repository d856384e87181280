"""What one worker asks of the central database, before and after a visit."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from lsst.daf.butler import Butler, DatasetRef
from lsst.resources import ResourcePath

from prompt_processing.activator.services.preload import visit_timespan
from prompt_processing.activator.services.visit_rules import VisitRules
from prompt_processing.activator.services.workspace import Repositories, Workspace
from prompt_processing.butler.local.repository import LocalRepository
from prompt_processing.domain.clock import utc_to_tai
from prompt_processing.domain.visit import FannedOutVisit
from prompt_processing.instruments.geometry import detector_region
from prompt_processing.instruments.raw_key import format_raw_key

from .content import BAND, FIELDS, FILTER, INSTRUMENT, SKY_MAP
from .figures import Cost, Figure, Measured, Ratio, cost
from .raws import raw_file
from .world import WORKERS, World

_STATEMENTS, _SECONDS = 30, 0.3


@dataclass(frozen=True)
class Asked:
    """One action with its statements."""

    statements: int
    database_seconds: float
    cost: Cost


def make_visit(detector: int, field: int, group: str) -> FannedOutVisit:
    """Announce a visit for now."""
    ra, dec, rotation = FIELDS[field]
    now = utc_to_tai(time.time())
    return FannedOutVisit.parse(
        {
            "salIndex": 1,
            "groupId": group,
            "coordinateSystem": 2,
            "position": [ra, dec],
            "startTime": now,
            "rotationSystem": 2,
            "cameraAngle": rotation,
            "filters": FILTER,
            "duration": 30.0,
            "nimages": 1,
            "instrument": INSTRUMENT,
            "survey": "load",
            "private_sndStamp": now,
            "detector": detector,
        }
    )


class OneWorker:
    """A worker in this process, and visits in it.

    Parameters
    ----------
    world : `World`
        Its repository.
    through_writer : `bool`
        How it hands outputs over.
    first_exposure : `int`
        Sequence number of its first exposure; two workers must not have the same.
    """

    def __init__(self, world: World, *, through_writer: bool, first_exposure: int) -> None:
        self._world = world
        self._counter = world.statements()
        self._settings = world.settings(through_writer=through_writer)
        self.repositories = Repositories.open(self._settings, world.camera)
        self._sequence = first_exposure

    def measure(self, action: Callable[[], object]) -> Asked:
        """Do something, and count what the workers' user asks the database meanwhile."""
        before = self._counter.read(WORKERS)
        with cost() as spent:
            action()
        asked = self._counter.read(WORKERS) - before
        return Asked(asked.calls, asked.seconds, spent)

    def preload(self, detector: int, field: int) -> Asked:
        """Preload for a visit, and forget it."""
        workspace = self._begin(detector, field)
        try:
            return self.measure(workspace.preload)
        finally:
            workspace.clean()

    def export(self, detector: int, action: Callable[[Workspace], object] = Workspace.export) -> Asked:
        """Process a visit, and measure how its outputs are handed over."""
        workspace = self._begin(detector, 0)
        try:
            workspace.preload()
            workspace.run_preprocessing()
            workspace.ingest([self._raw(detector)])
            workspace.run_pipeline()
            return self.measure(lambda: action(workspace))
        finally:
            workspace.clean()

    def close(self) -> None:
        """End it."""
        self.repositories.close()

    def _begin(self, detector: int, field: int) -> Workspace:
        self._sequence += 1
        visit = make_visit(detector, field, f"one worker {self._sequence}")
        rules = VisitRules.from_settings(self._settings, self._world.camera)
        return Workspace(self.repositories, self._settings, visit, rules.pipelines(visit))

    def _raw(self, detector: int) -> ResourcePath:
        exposure = 20260610 * 100_000 + self._sequence
        name = format_raw_key(INSTRUMENT, detector, exposure).key.rsplit("/", 1)[1]
        path = self._world.folder / "raws" / name
        path.parent.mkdir(exist_ok=True)
        group = f"one worker {self._sequence}"
        path.write_bytes(raw_file(self._world.camera, detector, exposure, group, FIELDS[0]))
        return ResourcePath(str(path))


def measure_one_worker(world: World, measured: Measured, repeats: int) -> None:
    """Measure preload and export of one worker, and the plain ways to do the same."""
    detectors = world.detectors
    worker = OneWorker(world, through_writer=True, first_exposure=0)
    try:
        first = worker.preload(detectors[0], 0)
        again = [worker.preload(detectors[0], 0) for _ in range(repeats)]
        others = [worker.preload(detectors[1 + n % (len(detectors) - 1)], 0) for n in range(repeats)]
        elsewhere = [worker.preload(detectors[0], 1 - n % 2) for n in range(repeats)]
        exports = [worker.export(detectors[0]) for _ in range(repeats + 1)][1:]
        plain = plain_preload(world, worker, detectors[0])
    finally:
        worker.close()
    for what, found in (
        ("the same detector again", again),
        ("another detector", others),
        ("another field", elsewhere),
    ):
        measured.figures.append(
            Figure(f"preload of a warm worker, {what}: most statements", max(_counts(found)), "", _STATEMENTS)
        )
        target = _SECONDS if found is again else None
        measured.figures += [
            Figure(f"preload of a warm worker, {what}: median", _seconds(found), "s", target),
            Figure(f"preload of a warm worker, {what}: CPU of the worker", _cpu(found), "s"),
        ]
    measured.figures += [
        Figure("first preload of a process: statements", first.statements, ""),
        Figure("first preload of a process", first.cost.seconds, "s"),
        Figure("export through the writer: most statements of the worker", max(_counts(exports)), "", 0),
        Figure("export through the writer: median", _seconds(exports), "s"),
        Figure("export through the writer: CPU of the worker", _cpu(exports), "s"),
    ]
    direct = OneWorker(world, through_writer=False, first_exposure=500)
    try:
        ours = [direct.export(detectors[0]) for _ in range(repeats + 1)][1:]
        transfers = [direct.export(detectors[0], _transfer) for _ in range(repeats)]
    finally:
        direct.close()
    peer, plainly = "Butler.transfer_from by each worker", "butler queries and Butler.transfer_from, cold"
    measured.ratios += [
        Ratio("preload, warm: statements", statistics.median(_counts(again)), plainly, plain.statements, ""),
        Ratio("preload, warm: CPU", _cpu(again), plainly, plain.cost.cpu_seconds, "s"),
        Ratio("export: statements of the worker", max(_counts(exports)), peer, max(_counts(transfers)), ""),
        Ratio("export: database's time", _database(exports), peer, _database(transfers), "s"),
        Ratio("export: CPU of the worker", _cpu(exports), peer, _cpu(transfers), "s"),
        Ratio(
            "export, without the writer: statements", max(_counts(ours)), peer, max(_counts(transfers)), ""
        ),
    ]


def plain_preload(world: World, worker: OneWorker, detector: int) -> Asked:
    """Preload as a few calls of the Butler's own do it: a query a type, then one transfer."""
    visit = make_visit(detector, 0, "plain")
    local = LocalRepository.create(
        str(_folder(world, "plain")),
        worker.repositories.local.butler.dimensions,
        worker.repositories.local.collections,
    )

    def preload() -> None:
        central = Butler.from_config(world.central)
        try:
            refs = list(_plain_queries(world, central, visit))
            local.butler.transfer_from(
                central, refs, transfer="copy", register_dataset_types=True, transfer_dimensions=True
            )
        finally:
            central.close()

    try:
        return worker.measure(preload)
    finally:
        local.close()


def _plain_queries(world: World, central: Butler, visit: FannedOutVisit) -> Iterable[DatasetRef]:
    collections = f"{INSTRUMENT}/defaults"
    data_id = {"instrument": INSTRUMENT, "detector": visit.detector}
    when = visit_timespan(visit)
    for name in ("bias", "dark", "flat", "defects", "camera"):
        ref = central.find_dataset(
            name, data_id, physical_filter=visit.filters, collections=collections, timespan=when
        )
        if ref is not None:
            yield ref
    yield from central.query_datasets("skyMap", collections, skymap=SKY_MAP)
    ra, dec, rotation = FIELDS[0]
    region = detector_region(world.camera, world.camera.detector(visit.detector), ra, dec, rotation)
    for name, element in (("template_coadd", "patch"), ("reference_stars", "htm7")):
        with central.query() as query:
            factory = query.expression_factory
            if element == "patch":
                where = factory.patch.region.overlaps(region)
                known = {"skymap": SKY_MAP, "band": BAND}
            else:
                pixelization = central.dimensions.skypix_dimensions["htm7"].pixelization
                where = factory.htm7.in_iterable(
                    pixel for begin, end in pixelization.envelope(region) for pixel in range(begin, end)
                )
                known = {}
            yield from query.datasets(name, collections).where(known, where).with_dimension_records()


def _transfer(workspace: Workspace) -> None:
    """Export as one call of the Butler's own does it."""
    repositories = workspace._repositories
    refs = workspace._entered.of_runs(workspace.runs.values())
    refs = [ref for ref in refs if repositories.exporter.wants(ref.datasetType)]
    for ref in refs:
        repositories.local.export_files([ref])
    repositories.central.writer.transfer_from(
        repositories.local.butler,
        refs,
        transfer="copy",
        register_dataset_types=True,
        transfer_dimensions=True,
    )


def _folder(world: World, name: str) -> Path:
    folder = world.folder / name
    folder.mkdir(exist_ok=True)
    return folder


def _counts(found: Iterable[Asked]) -> list[int]:
    return [asked.statements for asked in found]


def _seconds(found: Iterable[Asked]) -> float:
    return statistics.median(asked.cost.seconds for asked in found)


def _cpu(found: Iterable[Asked]) -> float:
    return statistics.median(asked.cost.cpu_seconds for asked in found)


def _database(found: Iterable[Asked]) -> float:
    return statistics.median(asked.database_seconds for asked in found)
