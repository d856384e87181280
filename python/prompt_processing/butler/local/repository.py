"""The local repository of a worker process, in which pipelines run."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from lsst.daf.butler import (  # type: ignore[attr-defined]
    Butler,
    CollectionType,
    Config,
    DatasetRef,
    DimensionRecord,
    DimensionUniverse,
    FileDataset,
    Timespan,
)
from lsst.daf.butler.registry import ConflictingDefinitionError
from lsst.sphgeom import Region

from prompt_processing.images import Exposure

from ..collections import Collections
from ..errors import passing
from ..field_types import field_storage_class
from ..internals import datastore_parts, files_of, make_repository_of_process
from .folder import LocalFolder
from .held_images import HeldImages

_LOG = logging.getLogger("lsst.activator.storage.local_repository")

HELD_IN_MEMORY = (
    "post_isr_image",
    "preliminary_visit_image",
    "template_detector",
    "template_matched",
    "difference_image_predetection",
    "difference_image",
)
"""Images that one task passes to the next. Compressing one takes longer than most tasks, so they become
files only at the export, after the alerts have been sent."""


_FILE_NAME = (
    "{run:/}/{datasetType}/{day_obs|visit.day_obs|exposure.day_obs:?}/{visit:?}/{exposure.obs_id|group:?}/"
    "{datasetType}_{instrument:?}_{tract:?}_{patch:?}_{band:?}_{physical_filter:?}_{visit:?}_"
    "{exposure.obs_id|group:?}_{detector.full_name:?}_{skymap:?}_{skypix:?}_{id}"
)
"""File names contain the dataset's id, so that two attempts at a visit never write to the same file of the
central datastore, where outputs keep their names."""


@dataclass(frozen=True, slots=True)
class Certified:
    """A calibration and its validity range.

    Attributes
    ----------
    ref : `~lsst.daf.butler.DatasetRef`
        The calibration.
    collection : `str`
        Collection in which it was found.
    timespan : `~lsst.daf.butler.Timespan` or `None`
        Validity range; `None` in a collection without validity ranges.
    """

    ref: DatasetRef
    collection: str
    timespan: Timespan | None


class LocalRepository:
    """A repository that exists as long as its process.

    Create it with `create`.

    Attributes
    ----------
    folder : `~pathlib.Path`
        ``butler-????????`` below the configured directory.
    butler : `~lsst.daf.butler.Butler`
        Writeable butler.
    collections : `Collections`
        Collection names.
    """

    def __init__(self, folder: LocalFolder, butler: Butler, collections: Collections) -> None:
        self.folder = folder.path
        self._held = folder
        self.butler = butler
        self.collections = collections
        self._search_order: tuple[str, ...] = ()
        self._certified: set[Certified] = set()
        self._images = HeldImages(*self._datastores())
        self._chain: tuple[str, ...] = ()
        butler.collections.register(collections.raw)
        butler.collections.register(collections.defaults, CollectionType.CHAINED)

    @classmethod
    def create(
        cls,
        parent: str,
        universe: DimensionUniverse,
        collections: Collections,
        overrides: Mapping[str, Any] | None = None,
    ) -> Self:
        """Create a new repository.

        Parameters
        ----------
        parent : `str`
            Directory in which to create it.
        universe : `~lsst.daf.butler.DimensionUniverse`
            Universe of the central repository, with which datasets and records are exchanged.
        collections : `Collections`
            Collection names.
        overrides : mapping, optional
            Butler configuration by section, as `.overrides.read_overrides` returns it; its
            ``datastore`` is that of the files.

        Raises
        ------
        RetriableError
            Raised if the disk is full, or the directory does not exist.
        """
        with passing(f"Making a local repository in {parent}"):
            folder = LocalFolder.make(parent)
            sections = dict(overrides or {})
            config = Config({**sections, "datastore": _memory_before_files(sections.get("datastore", {}))})
            try:
                butler = make_repository_of_process(str(folder.path), config, universe)
            # Any failure: half a repository would otherwise stay as long as the pod.
            except Exception:
                folder.remove()
                raise
        _LOG.info("Made the local repository %s.", folder.path)
        return cls(folder, butler, collections)

    def close(self) -> None:
        """Remove the repository."""
        self.butler.close()
        self._held.remove()

    def export_files(self, refs: Sequence[DatasetRef]) -> list[FileDataset]:
        """Return paths, relative to the datastore's root, and formatters of datasets.

        Datasets that exist only in memory are written first, and leave it.
        """
        memory, files = self._datastores()
        same: dict[tuple[int, str], list[DatasetRef]] = {}
        for ref in refs:
            if ref.datasetType.name in HELD_IN_MEMORY and not files.exists(ref):
                # A task that only adds to its input passes the same object on: compress it once, unless the
                # two are of different types in the layout of lsst-images.
                same.setdefault((id(memory.get(ref)), field_storage_class(ref.datasetType)), []).append(ref)

        def is_modified(group: list[DatasetRef]) -> bool:
            image = memory.get(group[0])
            return isinstance(image, Exposure) and image.is_modified

        # Last those of which a copy is made, when others have left memory.
        for first, *twins in sorted(same.values(), key=is_modified):
            image = memory.get(first)
            # Pipelines of other packages pass on types of their own.
            files.put(image.original() if isinstance(image, Exposure) else image, first)
            del image
            for twin in twins:
                (dataset,) = files.export([first])
                dataset.path, dataset.refs = files.getURI(first), [twin]
                files.ingest(dataset, transfer="hardlink")
            for ref in (first, *twins):
                memory.remove(ref)
        return list(files.export(refs))

    def read_ahead(self, refs: Iterable[DatasetRef], region: Region | None) -> None:
        """Read images into memory for the tasks, and release those of the previous visit.

        Parameters
        ----------
        refs : iterable of `~lsst.daf.butler.DatasetRef`
            Inputs of the visit.
        region : `~lsst.sphgeom.Region` or `None`
            Padded sky region of the detector.
        """
        self._images.hold(refs, region)

    def release(self, refs: Iterable[DatasetRef]) -> None:
        """Release images that no task of the visit will read again; their files stay."""
        self._images.release(refs)

    def _datastores(self) -> tuple[Any, Any]:
        """Return the in-memory part and the file part of the datastore."""
        memory, files = datastore_parts(self.butler)
        return memory, files

    def set_search_order(self, collections: Sequence[str]) -> None:
        """Remember the central repository's search order of the input collections."""
        self._search_order = tuple(collections)

    def insert(self, element: str, records: Iterable[DimensionRecord], *, replace: bool = False) -> None:
        """Insert dimension records.

        Parameters
        ----------
        element : `str`
            Dimension element.
        records : iterable of `~lsst.daf.butler.DimensionRecord`
            Records of the element.
        replace : `bool`, optional
            Whether to replace existing records, as for a visit that is
            delivered a second time.
        """
        rows = list(records)
        if rows:
            self.butler.registry.insertDimensionData(
                element, *rows, skip_existing=not replace, replace=replace
            )

    def receive(self, source: Butler, refs: Collection[DatasetRef]) -> None:
        """Copy datasets from another repository; their dimension records must exist here."""
        # A file that lies outside of the other repository gets a name from the records.
        expand = self.butler.registry.expandDataId
        self.butler.transfer_from(
            files_of(source),
            [ref if ref.dataId.hasRecords() else ref.expanded(expand(ref.dataId)) for ref in refs],
            transfer="copy",
            skip_missing=False,
            register_dataset_types=True,
        )

    def certify(self, calibrations: Iterable[Certified]) -> None:
        """Certify calibrations for their validity ranges in the central repository.

        Parameters
        ----------
        calibrations : iterable of `Certified`
            Calibrations, all received before.
        """
        registry = self.butler.registry
        for calibration in calibrations:
            if calibration.timespan is None or calibration in self._certified:
                continue
            ref, collection = calibration.ref, calibration.collection
            self.butler.collections.register(collection, CollectionType.CALIBRATION)
            try:
                registry.certify(collection, [ref], calibration.timespan)
            except ConflictingDefinitionError:
                # The central repository was recertified since; the new validity range holds.
                registry.decertify(
                    collection, ref.datasetType.name, calibration.timespan, dataIds=[ref.dataId]
                )
                registry.certify(collection, [ref], calibration.timespan)
            self._certified.add(calibration)

    def update_chain(self) -> None:
        """Redefine the chain of inputs: all received collections, in the central repository's order."""
        present = set(self.butler.collections.query("*"))
        chain = tuple(name for name in self._search_order if name in present)
        if chain != self._chain:
            self.butler.collections.redefine_chain(self.collections.defaults, chain)
            self._chain = chain

    def discard(self, refs: Collection[DatasetRef]) -> None:
        """Remove datasets, their files and their certification."""
        if not refs:
            return
        ids = {ref.id for ref in refs}
        self.butler.pruneDatasets(refs, disassociate=True, unstore=True, purge=True)
        self._images.forget(ids)
        self._certified = {known for known in self._certified if known.ref.id not in ids}

    def datasets(self, runs: Iterable[str]) -> list[DatasetRef]:
        """Return all datasets of the runs, with dimension records; ignore runs that do not exist."""
        present = set(self.butler.collections.query("*", collection_types=CollectionType.RUN))
        wanted = sorted(present.intersection(runs))
        if not wanted:
            return []
        found = self.butler.query_all_datasets(wanted, find_first=False, limit=None)
        expanded = {
            data_id: self.butler.registry.expandDataId(data_id) for data_id in {r.dataId for r in found}
        }
        return [ref.expanded(expanded[ref.dataId]) for ref in found]


def _memory_before_files(overrides: Mapping[str, Any]) -> dict[str, Any]:
    package = "lsst.daf.butler.datastores"
    return {
        "cls": f"{package}.chainedDatastore.ChainedDatastore",
        "datastores": [
            {"datastore": {"cls": f"{package}.inMemoryDatastore.InMemoryDatastore"}},
            {
                "datastore": {
                    "cls": f"{package}.fileDatastore.FileDatastore",
                    "root": "<butlerRoot>/files",
                    "templates": {"default": _FILE_NAME, "physical_filter+detector+exposure": _FILE_NAME},
                    # Every file is on a local disk already.
                    "cached": {"expiry": {"mode": "disabled"}},
                    **overrides,
                }
            },
        ],
        "datastore_constraints": [
            {"constraints": {"accept": list(HELD_IN_MEMORY)}},
            {"constraints": {"reject": list(HELD_IN_MEMORY)}},
        ],
    }
