"""Select the datasets of an export."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import lsst.sphgeom
from lsst.daf.butler import (  # type: ignore[attr-defined]
    Butler,
    CollectionType,
    DatasetRef,
    DimensionRecord,
    MissingCollectionError,
    MissingDatasetTypeError,
    Timespan,
)

from prompt_processing.butler.collections import Collections
from prompt_processing.domain.errors import RepositoryProblemError

from .sky_regions import lies_in

_OF_INSTRUMENT = ("instrument", "detector", "physical_filter", "visit_system")
_OF_VISIT = ("visit", "visit_system_membership", "visit_detector_region")


@dataclass(slots=True)
class Selection:
    """Content of an export.

    Attributes
    ----------
    refs
        Datasets by id, with dimension records.
    collections
        CALIBRATION collections whose validity ranges are exported.
    chains
        Collections of each chain, for the repository that imports them.
    records
        Dimension records that no data ID refers to, by element.
    """

    refs: dict[Any, DatasetRef] = field(default_factory=dict)
    collections: set[str] = field(default_factory=set)
    chains: dict[str, list[str]] = field(default_factory=dict)
    records: dict[str, list[DimensionRecord]] = field(default_factory=dict)

    def add(self, refs: Iterable[DatasetRef], chain: str | None = None) -> int:
        """Add datasets, and their runs to a chain; return the number of datasets."""
        number = 0
        for ref in refs:
            self.refs[ref.id] = ref
            number += 1
            if chain is not None:
                self.place(chain, ref.run)
        return number

    def counts(self) -> dict[str, int]:
        """Return the number of datasets by type, in alphabetical order."""
        counts: dict[str, int] = {}
        for ref in self.refs.values():
            counts[ref.datasetType.name] = counts.get(ref.datasetType.name, 0) + 1
        return dict(sorted(counts.items()))

    def place(self, chain: str, collection: str) -> None:
        """Record that a collection belongs in a chain."""
        members = self.chains.setdefault(chain, [])
        if collection not in members:
            members.append(collection)


def add_instrument_records(selection: Selection, butler: Butler, instrument: str) -> None:
    """Add the dimension records of an instrument that an empty repository needs.

    Parameters
    ----------
    selection
        Added to.
    butler
        The repository.
    instrument
        Short name.
    """
    for element in _OF_INSTRUMENT:
        selection.records[element] = _records(butler, element, instrument)


def add_raws(
    selection: Selection,
    butler: Butler,
    instrument: str,
    collection: str,
    where: str,
    detectors: Collection[int] | None,
    n_exposures: int | None,
) -> list[DimensionRecord]:
    """Add raws of science exposures and the definitions of their visits.

    Parameters
    ----------
    selection
        Added to.
    butler
        The repository.
    instrument
        Short name.
    collection
        Collection of the raws.
    where
        Additional Butler expression; may be empty.
    detectors
        Detectors to export; `None` for all.
    n_exposures
        Maximum number of exposures, earliest first; `None` for all.

    Returns
    -------
    exposures
        Records of the exposures.

    Raises
    ------
    RepositoryProblemError
        Raised if no raw matches.
    """
    condition = f"instrument = '{instrument}' AND exposure.observation_type = 'science'"
    if where:
        condition += f" AND ({where})"
    refs = _query(butler, "raw", collection, condition, find_first=True)
    if detectors is not None:
        refs = [ref for ref in refs if ref.dataId["detector"] in detectors]
    wanted = sorted({int(ref.dataId["exposure"]) for ref in refs})[:n_exposures]
    refs = [ref for ref in refs if ref.dataId["exposure"] in set(wanted)]
    if not refs:
        raise RepositoryProblemError(f"{collection} has no raw with {condition}.")
    selection.add(refs)
    records: dict[int, DimensionRecord] = {}
    for ref in refs:
        record = ref.dataId.records["exposure"]
        assert record is not None
        records[int(ref.dataId["exposure"])] = record
    definitions = [
        one
        for exposure in wanted
        for one in _records(butler, "visit_definition", instrument, exposure=exposure)
    ]
    for element in _OF_VISIT:
        selection.records[element] = [
            one
            for visit in sorted({int(definition.visit) for definition in definitions})
            for one in _records(butler, element, instrument, visit=visit)
        ]
    selection.records["visit_definition"] = definitions
    return [records[exposure] for exposure in wanted]


def add_calibrations(
    selection: Selection,
    butler: Butler,
    instrument: str,
    chain: str,
    *,
    detectors: Collection[int] | None = None,
    filters: Collection[str] | None = None,
    timespan: Timespan | None = None,
    dataset_types: Collection[str] = (),
) -> int:
    """Add calibrations and their validity ranges.

    Parameters
    ----------
    selection, butler, instrument, detectors
        As for `add_raws`.
    chain
        Collection to search for calibrations.
    filters
        Physical filters to export; `None` for all.
    timespan
        Time in which calibrations must be valid; `None` for any.
    dataset_types
        Only these; all by default.

    Returns
    -------
    number
        Number of calibrations found.
    """
    target = Collections(instrument)
    kinds = [
        kind
        for kind in butler.registry.queryDatasetTypes()
        if kind.isCalibration() and (not dataset_types or kind.name in dataset_types)
    ]

    def wanted(ref: DatasetRef) -> bool:
        values = ref.dataId
        return (
            values.get("instrument", instrument) == instrument
            and (detectors is None or values.get("detector", -1) in {*detectors, -1})
            and (filters is None or values.get("physical_filter", "") in {*filters, ""})
        )

    infos = _flattened(butler, chain)
    found: dict[Any, DatasetRef] = {}
    for kind in kinds:
        for info in infos:
            if info.type is CollectionType.CALIBRATION:
                for one in butler.registry.queryDatasetAssociations(
                    kind, [info.name], collectionTypes={CollectionType.CALIBRATION}, flattenChains=False
                ):
                    valid = timespan is None or one.timespan is None or one.timespan.overlaps(timespan)
                    if valid and wanted(one.ref):
                        found[one.ref.id] = one.ref
                        selection.collections.add(info.name)
                        selection.place(target.calib, info.name)
            elif info.type is CollectionType.RUN:
                unbounded = [ref for ref in _query(butler, kind.name, info.name) if wanted(ref)]
                for ref in unbounded:
                    found[ref.id] = ref
                    selection.place(target.calib, info.name)
    # Associations have no dimension records.
    return selection.add(ref if ref.dataId.hasRecords() else _expanded(butler, ref) for ref in found.values())


def add_sky(
    selection: Selection,
    butler: Butler,
    collection: str,
    regions: Sequence[lsst.sphgeom.Region] | None,
    *,
    chain: str,
    dataset_types: Collection[str] = (),
    shards: bool = False,
    accept: Callable[[DatasetRef], bool] = lambda ref: True,
) -> int:
    """Add datasets in some regions of the sky: templates, or shards of reference catalogues.

    Parameters
    ----------
    selection, butler
        As for `add_raws`.
    collection
        Collection to search.
    regions
        Regions of the sky; `None` for all of it.
    chain
        Chain that the runs belong in.
    dataset_types
        Dataset types to export; by default all that have a region.
    shards
        Whether to export only datasets that are divided by sky pixels, such as
        reference catalogues.
    accept
        Additional condition.

    Returns
    -------
    number
        Datasets found.
    """
    kinds = [
        kind
        for kind in butler.registry.queryDatasetTypes()
        if kind.dimensions.spatial
        and not {"instrument", "visit", "exposure"} & set(kind.dimensions.names)
        and (not shards or kind.dimensions.skypix)
        and (not dataset_types or kind.name in dataset_types)
    ]
    number = 0
    for kind in kinds:
        refs = [ref for ref in _query(butler, kind.name, collection) if accept(ref)]
        number += selection.add((ref for ref in refs if lies_in(ref, kind, regions)), chain)
    return number


def add_sky_map(selection: Selection, butler: Butler, collection: str, name: str | None) -> int:
    """Add the named sky map, or all; return the number of sky maps."""
    where = f"skymap = '{name}'" if name else ""
    refs = _query(butler, "skyMap", collection, where)
    for ref in refs:
        for element in ("tract", "patch"):
            records = _records(butler, element, skymap=ref.dataId["skymap"])
            selection.records.setdefault(element, []).extend(records)
    return selection.add(refs)


def add_models(selection: Selection, butler: Butler, instrument: str, collection: str) -> int:
    """Add inputs that belong to the whole instrument or to none, such as pretrained models.

    Parameters
    ----------
    selection, butler, instrument
        As for `add_raws`.
    collection
        Collection to search.

    Returns
    -------
    number
        Datasets found.
    """
    present = {
        name for info in _flattened(butler, collection) if info.dataset_types for name in info.dataset_types
    }
    kinds = [
        kind.name
        for kind in butler.registry.queryDatasetTypes()
        if kind.name in present
        and not kind.isCalibration()
        and set(kind.dimensions.names) <= {"instrument", "band", "physical_filter"}
    ]
    return sum(
        selection.add(_query(butler, kind, collection), Collections(instrument).defaults) for kind in kinds
    )


def add_preloaded(selection: Selection, butler: Butler, instrument: str, where: str) -> int:
    """Add the histories preloaded from the APDB, so that a visit can be rerun without it.

    Parameters
    ----------
    selection, butler, instrument, where
        As for `add_raws`.

    Returns
    -------
    number
        Datasets found.
    """
    condition = f"instrument = '{instrument}'" + (f" AND ({where})" if where else "")
    kinds = [
        kind.name
        for kind in butler.registry.queryDatasetTypes(["preloaded_*", "regionTimeInfo"])
        if "group" in kind.dimensions
    ]
    return sum(
        selection.add(_query(butler, kind, f"{instrument}/prompt/output-*", condition, find_first=False))
        for kind in kinds
    )


def _query(
    butler: Butler, name: str, collection: str, where: str = "", find_first: bool = True
) -> list[DatasetRef]:
    try:
        return list(
            butler.query_datasets(
                name,
                collection,
                where=where,
                find_first=find_first and "*" not in collection,
                with_dimension_records=True,
                limit=None,
                explain=False,
            )
        )
    except (MissingCollectionError, MissingDatasetTypeError):
        return []


def _records(
    butler: Butler, element: str, instrument: str | None = None, **values: Any
) -> list[DimensionRecord]:
    if instrument is not None:
        values["instrument"] = instrument
    return list(butler.query_dimension_records(element, **values, explain=False, limit=None))


def _flattened(butler: Butler, chain: str) -> Sequence[Any]:
    try:
        return butler.collections.query_info(chain, flatten_chains=True, include_summary=True)
    except MissingCollectionError:
        return ()


def _expanded(butler: Butler, ref: DatasetRef) -> DatasetRef:
    values: Mapping[str, Any] = dict(ref.dataId.required)
    full = butler.registry.expandDataId(values, dimensions=ref.datasetType.dimensions)
    return ref.expanded(full)
