"""Make a central Butler repository and fill it with the inputs of the pipelines."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lsst.daf.butler import (  # type: ignore[attr-defined]
    Butler,
    CollectionType,
    Config,
    DatasetRef,
    DatasetType,
    FileDataset,
    Timespan,
)

from prompt_processing.butler.collections import Collections
from prompt_processing.butler.pipelines.library import PipelineLibrary
from prompt_processing.butler.types import use_butler_types
from prompt_processing.domain.errors import RepositoryProblemError
from prompt_processing.images import SkyMap
from prompt_processing.instruments.camera import Camera

from .chains import add_to_chain
from .content import CalibrationProduct, RepositoryContent, Template
from .instrument_records import insert_instrument
from .reference_stars import shards

_LOG = logging.getLogger(__name__)

INPUT_DATASET_TYPES: dict[str, tuple[tuple[str, ...], str, bool]] = {
    "raw": (("instrument", "exposure", "detector"), "Exposure", False),
    "camera": (("instrument",), "Camera", True),
    "bias": (("instrument", "detector"), "MaskedImageV2", True),
    "dark": (("instrument", "detector"), "MaskedImageV2", True),
    "flat": (("instrument", "detector", "physical_filter"), "MaskedImageV2", True),
    "defects": (("instrument", "detector"), "Defects", True),
    "skyMap": (("skymap",), "SkyMap", False),
    "template_coadd": (("skymap", "tract", "patch", "band"), "MaskedImageV2", False),
    "reference_stars": (("htm7",), "ArrowAstropy", False),
    "regionTimeInfo": (("instrument", "group", "detector"), "RegionTimeInfo", False),
    "promptPreload_metrics": (("instrument", "group", "detector"), "MetricMeasurementBundle", False),
    "prompt_provenance": (("instrument", "group", "detector"), "ProvenanceQuantumGraph", False),
}
"""Dimensions, storage class and whether certified, of all inputs that no pipeline produces."""


def create_repository(
    root: str, database: str | None = None, datastore: str | None = None, namespace: str | None = None
) -> None:
    """Make an empty repository.

    Parameters
    ----------
    root
        Path or URI, ``s3://`` included, of the folder of ``butler.yaml``.
    database
        SQLAlchemy URL of the registry; by default SQLite beside ``butler.yaml``,
        whose folder must then be local.
    datastore
        URI of the folder of the datasets; by default beside ``butler.yaml``.
    namespace
        PostgreSQL schema of the registry's tables, created if it does not exist.
    """
    use_butler_types()
    config = Config()
    if database:
        config["registry", "db"] = database
    elif "://" in root and not root.startswith("file://"):
        raise ValueError(
            f"A repository at {root} needs the URL of a database: SQLite requires a local folder."
        )
    if namespace:
        config["registry", "namespace"] = namespace
    if datastore:
        config["datastore", "root"] = datastore
    Butler.makeRepo(root, config=config, forceConfigRoot=not (database or datastore))


def make_central_repository(
    root: str,
    camera: Camera,
    content: RepositoryContent,
    *,
    pipelines: Sequence[str] = (),
    database: str | None = None,
    datastore: str | None = None,
    namespace: str | None = None,
) -> None:
    """Make a central repository that prompt processing can start from.

    Parameters
    ----------
    root, database, datastore, namespace
        As for `create_repository`.
    camera
        Source of the instrument's records and its ``camera`` dataset.
    content
        The pipelines' inputs.
    pipelines
        Pipeline files whose dataset types are registered.
    """
    create_repository(root, database, datastore, namespace)
    add_instrument(root, camera, content, pipelines=pipelines)
    _LOG.info("Made the central repository %s for %s.", root, camera.name)


def add_instrument(
    root: str, camera: Camera, content: RepositoryContent, *, pipelines: Sequence[str] = ()
) -> None:
    """Add everything that an instrument's workers expect to a repository.

    Parameters
    ----------
    root
        The repository. Existing content is left unchanged and chains keep
        their members, so that this also repairs an incomplete repository.
    camera, content, pipelines
        As for `make_central_repository`.

    Raises
    ------
    RepositoryProblemError
        Raised if a collection that must be a chain is not one.
    """
    use_butler_types()
    with Butler.from_config(root, writeable=True) as butler:
        insert_instrument(butler, camera)
        register_dataset_types(butler, pipelines)
        collections = Collections(camera.name)
        butler.collections.register(collections.raw)
        _put_calibrations(butler, collections, camera, content.calibrations, content.label)
        put_sky_map(butler, collections, content.sky_map)
        _put_templates(butler, collections, content.sky_map, content.templates, content.label)
        _put_reference_stars(butler, collections, content)
        add_to_chain(butler, collections.defaults, collections.inputs)


def register_dataset_types(butler: Butler, pipelines: Iterable[str]) -> None:
    """Register the dataset types of the inputs and of some pipelines.

    Parameters
    ----------
    butler
        Writeable; existing types are left unchanged.
    pipelines
        Pipeline files.
    """
    register_types(butler, INPUT_DATASET_TYPES)
    registered = {dataset_type.name: dataset_type for dataset_type in butler.registry.queryDatasetTypes()}
    library = PipelineLibrary(pipelines, registered, butler.dimensions)
    for problem in library.missing.values():
        raise RepositoryProblemError(problem)
    library.register_for_others(butler)


def register_inputs(butler: Butler, *names: str) -> None:
    """Register some of `INPUT_DATASET_TYPES`, where the repository lacks them."""
    register_types(butler, {name: INPUT_DATASET_TYPES[name] for name in names})


def register_types(butler: Butler, types: Mapping[str, tuple[tuple[str, ...], str, bool]]) -> None:
    """Register dataset types that the repository lacks; see `INPUT_DATASET_TYPES` for the values."""
    known = {dataset_type.name for dataset_type in butler.registry.queryDatasetTypes()}
    for name, (dimensions, storage_class, certified) in types.items():
        if name not in known:
            butler.registry.registerDatasetType(
                DatasetType(
                    name,
                    dimensions,
                    storage_class,
                    isCalibration=certified,
                    universe=butler.dimensions,
                )
            )


def _put_calibrations(
    butler: Butler,
    collections: Collections,
    camera: Camera,
    products: Iterable[CalibrationProduct],
    label: str,
) -> None:
    certified = f"{collections.calib}/{label}"
    butler.collections.register(certified, CollectionType.CALIBRATION)
    butler.collections.register(collections.unbounded_calib)
    unbounded = collections.unbounded_calib
    if butler.find_dataset("camera", instrument=camera.name, collections=unbounded) is None:
        camera_ref = butler.put(camera, "camera", instrument=camera.name, run=unbounded)
        butler.registry.certify(certified, [camera_ref], Timespan(None, None))
    # Each call checks for overlapping validity: one call per type and range serves the whole camera.
    certified_for: dict[tuple[str, Timespan], list[DatasetRef]] = {}
    files: list[FileDataset] = []
    for product in products:
        data_id: dict[str, Any] = {"instrument": camera.name, "detector": product.detector}
        if product.physical_filter is not None:
            data_id["physical_filter"] = product.physical_filter
        # A run holds only one bias for each detector, so each epoch has its own run.
        epoch = "any" if product.begin is None else product.begin.tai.strftime("%Y%m%dT%H%M%S")
        run = f"{certified}/{epoch}"
        butler.collections.register(run)
        ref = _put(butler, product.product, product.dataset_type, data_id, run, files)
        validity = Timespan(product.begin, product.end)
        certified_for.setdefault((product.dataset_type, validity), []).append(ref)
    butler.ingest(*files, transfer="copy")
    for (_, timespan), refs in certified_for.items():
        butler.registry.certify(certified, refs, timespan)
    add_to_chain(butler, collections.calib, [certified, unbounded])


def put_sky_map(butler: Butler, collections: Collections, sky_map: SkyMap | None) -> None:
    """Enter a sky map with its tracts and patches, where the repository lacks it."""
    butler.collections.register(collections.skymaps)
    if sky_map is None:
        return
    records: dict[str, list[Any]] = {}
    for element, fields in sky_map.dimension_records():
        records.setdefault(element, []).append(butler.dimensions[element].RecordClass(**fields))
    for element, rows in records.items():
        butler.registry.insertDimensionData(element, *rows, skip_existing=True)
    if butler.find_dataset("skyMap", skymap=sky_map.name, collections=collections.skymaps) is None:
        butler.put(sky_map, "skyMap", skymap=sky_map.name, run=collections.skymaps)


def _put_templates(
    butler: Butler,
    collections: Collections,
    sky_map: SkyMap | None,
    templates: Iterable[Template],
    label: str,
) -> None:
    run = f"{collections.templates}/{label}"
    butler.collections.register(run)
    files: list[FileDataset] = []
    for template in templates:
        if sky_map is None:
            raise ValueError("Templates need a sky map.")
        data_id = {
            "skymap": sky_map.name,
            "tract": template.tract,
            "patch": template.patch,
            "band": template.band,
        }
        _put(butler, template.coadd, "template_coadd", data_id, run, files)
    butler.ingest(*files, transfer="copy")
    add_to_chain(butler, collections.templates, [run])


def _put_reference_stars(butler: Butler, collections: Collections, content: RepositoryContent) -> None:
    run = f"{collections.refcats}/{content.label}"
    butler.collections.register(run)
    if content.reference_stars is not None:
        for pixel, table in shards(content.reference_stars):
            butler.put(table, "reference_stars", htm7=pixel, run=run)
    add_to_chain(butler, collections.refcats, [run])


def _put(
    butler: Butler,
    product: Any,
    dataset_type: str,
    data_id: dict[str, Any],
    run: str,
    files: list[FileDataset],
) -> DatasetRef:
    """Put an object; a file is only appended to ``files``, since ingesting many at once is faster."""
    if not isinstance(product, Path):
        return butler.put(product, dataset_type, data_id, run=run)
    definition = butler.get_dataset_type(dataset_type)
    full = butler.registry.expandDataId(data_id, dimensions=definition.dimensions)
    ref = DatasetRef(definition, full, run=run)
    files.append(FileDataset(path=str(product.absolute()), refs=[ref]))
    return ref
