"""Find and open the datasets of a visit's detector."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

import numpy as np
from astropy.io.fits.verify import VerifyError
from astropy.table import Table
from astropy.wcs import WCS
from lsst.daf.butler import Butler, CollectionType, DatasetRef, MissingDatasetTypeError  # type: ignore[attr-defined]
from lsst.daf.butler.registry import (  # type: ignore[attr-defined]
    DatasetTypeError,
    MissingCollectionError,
)
from lsst.resources import ResourcePath

from prompt_processing.images.layout.sections import ImageSections

from ..sources import Sources
from .pixels import TiledImage

__all__ = ["IMAGES", "DetectorData", "Neighbour", "find_neighbour", "load_detector", "output_chains"]

_LOG = logging.getLogger("lsst.prompt_processing.navigator")

IMAGES: Mapping[str, tuple[str, ...]] = {
    "science": ("preliminary_visit_image", "post_isr_image"),
    "template": ("template_matched", "template_detector"),
    "difference": ("difference_image", "difference_image_predetection"),
}
"""Dataset types of each image, best first."""
_SOURCES = ("dia_source_detector", "dia_source_apdb", "dia_source_unfiltered")
_KERNEL = "difference_kernel"
_MOST_NIGHTS = 31
_MOST_SOURCES = 20_000
_MOST_INSTRUMENTS = 50


@dataclass(slots=True)
class DetectorData:
    """Images and catalogues of a visit's detector.

    Attributes
    ----------
    images
        Images by the keys of `IMAGES`.
    types
        Dataset type that each image has.
    wcs
        WCS of the pixels.
    band, filter
        Of the visit.
    collection
        Run of the images.
    chain
        Collection in which they were found.
    sources
        DiaSources, brightest first; `None` if there are none.
    kernel
        Dataset of the matching kernel.
    problems
        A sentence for each thing that is missing or unreadable.
    instrument
        Short name; empty if nothing was found.
    """

    images: dict[str, TiledImage] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    wcs: WCS | None = None
    band: str = ""
    filter: str = ""
    collection: str = ""
    chain: str = ""
    sources: Table | None = None
    kernel: Any = None
    problems: list[str] = field(default_factory=list)
    instrument: str = ""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another visit and detector."""

    visit: int
    detector: int


def output_chains(butler: Butler, instrument: str) -> list[str]:
    """Return the chains of the newest nights of an instrument, newest first."""
    found = butler.collections.query(f"{instrument}/prompt/output-*", CollectionType.CHAINED)
    return sorted(found, reverse=True)[:_MOST_NIGHTS]


def instruments(butler: Butler) -> list[str]:
    """Return the names of the instruments of a repository."""
    records = butler.query_dimension_records("instrument", limit=_MOST_INSTRUMENTS, explain=False)
    return sorted(str(record.dataId["instrument"]) for record in records)


def load_detector(
    sources: Sources,
    instrument: str,
    visit: int,
    detector: int,
    collection: str = "",
    *,
    catalogues: bool = True,
) -> DetectorData:
    """Find and open the images and catalogues of a visit's detector.

    Parameters
    ----------
    sources
        Where they are.
    instrument
        Short name; empty to try each.
    visit, detector
        Ids.
    collection
        Collection to search; empty for the newest nights.
    catalogues
        Whether to read the DiaSources and the kernel too.

    Raises
    ------
    ~prompt_processing.navigator.sources.UnavailableError
        Raised if the repository is unavailable.
    """
    data = DetectorData()
    with sources.butler() as butler:
        refs: dict[str, DatasetRef] = {}
        for name in [instrument] if instrument else instruments(butler):
            chains = [collection] if collection else output_chains(butler, name)
            data.chain, refs = _find(butler, name, visit, detector, chains)
            if refs:
                break
        data.instrument = next((str(ref.dataId["instrument"]) for ref in refs.values()), "")
        uris = {name: butler.getURI(ref) for name, ref in refs.items()}
        data.kernel = _read(butler, refs, (_KERNEL,), data) if catalogues else None
        table = _read(butler, refs, _SOURCES, data) if catalogues else None
    if table is not None:
        data.sources = _brightest(table)
    missing: list[str] = []
    for role, types in IMAGES.items():
        type_name = next((one for one in types if one in refs), None)
        if type_name is None:
            missing.append(types[0])
            continue
        try:
            data.images[role] = _open_image(sources, uris[type_name])
        except (OSError, ValueError, VerifyError) as error:
            data.problems.append(f"{type_name} cannot be read: {error}")
            continue
        data.types[role] = type_name
        data_id = refs[type_name].dataId
        data.collection = data.collection or refs[type_name].run
        if "band" in data_id.dimensions and data_id.hasFull():
            data.band, data.filter = str(data_id["band"]), str(data_id["physical_filter"])
    if missing:
        *others, last = missing
        before = f"{', no '.join(others)} and no " if others else ""
        data.problems.append(f"There is no {before}{last}.")
    for image in data.images.values():
        if "CTYPE1" in image.sections.header:
            data.wcs = WCS(image.sections.header)
            break
    return data


def find_neighbour(
    sources: Sources, instrument: str, visit: int, detector: int, what: str, step: int
) -> Neighbour | None:
    """Return the next or previous visit of a detector, or detector of a visit, that has a difference image.

    Parameters
    ----------
    sources
        Where they are.
    instrument, visit, detector
        Where to begin; instrument as for `load_detector`.
    what
        ``visit`` or ``detector``.
    step
        1 or -1.
    """
    comparison = ">" if step > 0 else "<"
    with sources.butler() as butler:
        for name in [instrument] if instrument else instruments(butler):
            for chain in output_chains(butler, name):
                fixed = {"detector": detector} if what == "visit" else {"visit": visit}
                with butler.query() as query:
                    try:
                        found = list(
                            query.join_dataset_search(IMAGES["difference"][0], chain)
                            .where({"instrument": name, **fixed})
                            .where(f"{what} {comparison} {visit if what == 'visit' else detector}")
                            .data_ids(["visit", "detector"])
                            .order_by(what if step > 0 else f"-{what}")
                            .limit(1)
                        )
                    except (MissingDatasetTypeError, DatasetTypeError, MissingCollectionError):
                        continue
                if found:
                    return Neighbour(int(found[0]["visit"]), int(found[0]["detector"]))
    return None


def _find(
    butler: Butler, instrument: str, visit: int, detector: int, collections: list[str]
) -> tuple[str, dict[str, DatasetRef]]:
    """Return the first collection that has datasets of a visit's detector, and these by type."""
    wanted = [name for types in IMAGES.values() for name in types] + [*_SOURCES, _KERNEL]
    for collection in collections:
        found: dict[str, DatasetRef] = {}
        try:
            there = butler.collections.get_info(collection, include_summary=True).dataset_types or ()
        except MissingCollectionError:
            continue
        for key in ("visit", "exposure"):
            names = [name for name in wanted if (name == "post_isr_image") == (key == "exposure")]
            # The Butler refuses types that a repository does not have.
            names = [name for name in names if name in there]
            if not names:
                continue
            try:
                refs = butler.query_all_datasets(
                    collection,
                    name=names,
                    data_id={"instrument": instrument, key: visit, "detector": detector},
                    limit=3 * len(wanted),
                )
            except (MissingCollectionError, MissingDatasetTypeError, LookupError):
                continue
            found |= {ref.datasetType.name: ref for ref in refs}
        if found:
            return collection, {name: _expanded(butler, ref) for name, ref in found.items()}
    return "", {}


def _expanded(butler: Butler, ref: DatasetRef) -> DatasetRef:
    return ref.expanded(butler.registry.expandDataId(ref.dataId))


def _read(butler: Butler, refs: Mapping[str, DatasetRef], types: tuple[str, ...], data: DetectorData) -> Any:
    """Return the first dataset that can be read."""
    for name in types:
        if name in refs:
            try:
                return butler.get(refs[name])
            except (OSError, ValueError, LookupError, ImportError, AttributeError) as error:
                # A file of another stack or a damaged one: the images are shown without it.
                _LOG.warning("Cannot read %s: %s", name, error)
                data.problems.append(f"{name} cannot be read: {error}")
    return None


def _brightest(table: Any) -> Table:
    table = table if isinstance(table, Table) else Table.from_pandas(table)
    if "snr" in table.colnames:
        snr = np.ma.filled(np.ma.asarray(table["snr"], float), 0.0)
        table = table[np.argsort(-snr, kind="stable")[:_MOST_SOURCES]]
    return table[:_MOST_SOURCES]


def _open_image(sources: Sources, uri: ResourcePath) -> TiledImage:
    @contextmanager
    def opened() -> Iterator[BinaryIO]:
        with uri.open("rb") as file:
            yield cast(BinaryIO, file)

    # Files of the Butler do not change: their names contain the dataset's id.
    return sources.opened_image(str(uri), lambda: TiledImage(str(uri), ImageSections(opened), sources.pixels))
