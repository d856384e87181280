"""Repositories, camera and pipelines, shared by all visits of a worker process."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

from lsst.daf.butler import DatasetType, DimensionRecord

from prompt_processing.activator.storage.known_inputs import KnownInputs
from prompt_processing.activator.storage.writer_topic import WriterTopic
from prompt_processing.apdb.connection import ApdbConnection
from prompt_processing.apdb.record import ApdbRecord
from prompt_processing.butler.central import CentralRepository
from prompt_processing.butler.deployment import deployment_id
from prompt_processing.butler.errors import passing
from prompt_processing.butler.export import Exporter
from prompt_processing.butler.ingest import Ingester
from prompt_processing.butler.local.overrides import LocalOverridesError, read_overrides
from prompt_processing.butler.local.repository import LocalRepository
from prompt_processing.butler.pipelines.library import PipelineLibrary
from prompt_processing.butler.types import use_butler_types
from prompt_processing.instruments.camera import Camera, load_camera
from prompt_processing.settings.environment import SettingsError
from prompt_processing.settings.freed_memory import reuse_freed_memory
from prompt_processing.settings.worker import Settings
from prompt_processing.tasks.connections import Connections

from .calibration_cache import CalibrationCache
from .export_through_writer import ExporterThroughWriter

PROVENANCE = "prompt_provenance"
"""Dataset type of a pipeline's provenance: quanta, datasets, logs, metadata and package versions."""

_LOG = logging.getLogger("lsst.activator.services.repositories")

_OWN_DATASET_TYPES = {
    "raw": (("instrument", "exposure", "detector"), "Exposure"),
    "regionTimeInfo": (("instrument", "group", "detector"), "RegionTimeInfo"),
    "promptPreload_metrics": (("instrument", "group", "detector"), "MetricMeasurementBundle"),
    PROVENANCE: (("instrument", "group", "detector"), "ProvenanceQuantumGraph"),
}
"""Dimensions and storage class of datasets that no pipeline writes, for a repository without these types."""


class Repositories:
    """Repositories, camera and pipelines, which a worker process opens once.

    Create it with `open`.
    """

    def __init__(
        self,
        central: CentralRepository,
        local: LocalRepository,
        camera: Camera,
        pipelines: PipelineLibrary,
        instrument_records: dict[str, list[DimensionRecord]],
        deployment: str,
        settings: Settings,
        registered: Mapping[str, DatasetType],
        apdb: ApdbConnection | None = None,
    ) -> None:
        self.central = central
        self.local = local
        self.camera = camera
        self.pipelines = pipelines
        self.deployment = deployment
        self.known = KnownInputs(central)
        self.cache = CalibrationCache(settings.local_repo_cache_size)
        self.exporter = (
            ExporterThroughWriter(
                central, settings.export_type_regexp, registered, WriterTopic.from_settings(settings)
            )
            if settings.use_kafka_butler_writer
            else Exporter(central, settings.export_type_regexp, registered)
        )
        self.connections = Connections(
            apdb=apdb or ApdbConnection(),
            apdb_uri=settings.config_apdb,
            alert_stream=settings.alert_stream,
            mp_sky_url=settings.mp_sky_url or "",
            sattle_url=settings.sattle_uri_base or "",
        )
        self.apdb = ApdbRecord(settings.config_apdb, self.connections.apdb)
        self.search_order: tuple[str, ...] = ()
        self.bands = {record.name: record.band for record in instrument_records["physical_filter"]}
        self.ingester = Ingester(
            local, camera, instrument_records["instrument"][0], self.bands, settings.preload_padding
        )
        self.initialized_runs: set[str] = set()
        self.visited = False
        self._input_collections = settings.input_collections
        self.further_inputs: tuple[DatasetType, ...] = ()
        self._night = ""

    @classmethod
    def open(
        cls, settings: Settings, camera: Camera | None = None, apdb: ApdbConnection | None = None
    ) -> Self:
        """Connect to the central repository and create the local one.

        Parameters
        ----------
        settings : `Settings`
            Settings of the worker.
        camera : `Camera`, optional
            The camera; by default the one that the settings name, at full size.
        apdb : `~prompt_processing.apdb.connection.ApdbConnection`, optional
            Connection of this process; by default a new one.

        Raises
        ------
        RetriableError
            Raised if the central repository cannot be reached.
        LookupError
            Raised if the instrument is not registered there.
        """
        use_butler_types()
        reuse_freed_memory()
        overrides = _overrides_of_local_repository(settings)
        central = CentralRepository.open(
            settings.central_repo, settings.input_repo, settings.rubin_instrument, settings.repo_retry_delay
        )
        records = central.instrument_records()
        paths = (*settings.preprocessing_pipelines_config.paths, *settings.main_pipelines_config.paths)
        with passing("Reading the dataset types of the central repository"):
            dataset_types = {known.name: known for known in central.reader.registry.queryDatasetTypes()}
            registered = dataset_types
            if settings.input_repo != settings.central_repo:
                registered = {known.name: known for known in central.writer.registry.queryDatasetTypes()}
        pipelines = PipelineLibrary(
            paths, dataset_types, central.reader.dimensions, settings.dataset_type_names, registered
        )
        local = LocalRepository.create(
            settings.local_repos, central.reader.dimensions, central.collections, overrides
        )
        for element, rows in records.items():
            local.insert(element, rows)
        for name, (dimensions, storage_class) in _OWN_DATASET_TYPES.items():
            own = DatasetType(name, dimensions, storage_class, universe=local.butler.dimensions)
            local.butler.registry.registerDatasetType(dataset_types.get(name, own))
        pipelines.register_dataset_types(local.butler)
        repositories = cls(
            central,
            local,
            camera or load_camera(settings.rubin_instrument),
            pipelines,
            records,
            deployment_id(paths, settings.config_apdb, settings.dataset_type_names),
            settings,
            registered,
            apdb,
        )
        _hint_at_catalogues(pipelines, dataset_types)
        repositories.further_inputs = tuple(_registered(settings.preload_dataset_types, dataset_types))
        return repositories

    def begin_night(self, night_of_processing: str) -> None:
        """Read the search order of the inputs again, once per night.

        Parameters
        ----------
        night_of_processing : `str`
            ``YYYY-MM-DD``.

        Raises
        ------
        RetriableError
            Raised if the central repository cannot be reached.
        """
        if night_of_processing == self._night:
            return
        self.search_order = self.central.search_order(self._input_collections)
        self.local.set_search_order(self.search_order)
        self.known.forget()
        self._night = night_of_processing

    def close(self) -> None:
        """Disconnect and remove the local repository."""
        self.central.close()
        self.local.close()


def _hint_at_catalogues(pipelines: PipelineLibrary, known: Mapping[str, DatasetType]) -> None:
    """Warn about a reference catalogue that the repository has under another name only."""
    there = sorted(name for name, one in known.items() if one.dimensions.skypix)
    wanted = {one.name for pipeline in pipelines for one, _ in pipeline.inputs() if one.dimensions.skypix}
    for name in sorted(wanted.difference(known)):
        if there:
            _LOG.warning(
                "The repository has no %s, but %s; set DATASET_TYPE_NAMES, such as {%s: %s}.",
                name,
                ", ".join(there),
                name,
                there[0],
            )


def _registered(names: Iterable[str], known: Mapping[str, DatasetType]) -> Iterator[DatasetType]:
    for name in names:
        if name in known:
            yield known[name]
        else:
            _LOG.warning("PRELOAD_DATASET_TYPES names %s, which the central repository does not have.", name)


def _overrides_of_local_repository(settings: Settings) -> dict[str, Any]:
    if settings.local_repo_config is None:
        return {}
    try:
        return read_overrides(settings.local_repo_config)
    except LocalOverridesError as error:
        raise SettingsError({"LOCAL_REPO_CONFIG": str(error)}) from error
