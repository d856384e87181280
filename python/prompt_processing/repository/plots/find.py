"""Bounded queries for the figures of a collection."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lsst.daf.butler import Butler, DatasetNotFoundError, DatasetRef, MissingCollectionError
from lsst.resources import ResourcePath

from .kinds import METRICS, Place, PlotKind, PlotRef, kind_of

__all__ = [
    "MOST_COLLECTIONS",
    "MOST_PLACES",
    "MOST_PLOTS",
    "CollectionContent",
    "NoSuchPlotError",
    "collection_content",
    "collections_with_plots",
    "picture_type",
    "place_order",
    "places_of",
    "plots_at",
    "read_plot",
    "ref_of",
]

MOST_COLLECTIONS = 1000
MOST_PLACES = 400
"""Places that a list has; newer visits come first."""
MOST_KINDS_FOR_PLACES = 3
"""Kinds of figures that are asked for their places: kinds of one tab mostly have the same ones."""
MOST_PLOTS = 200
"""Figures of one kind at one place."""
_LARGEST_BYTES = 20_000_000

_SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
}


class NoSuchPlotError(LookupError):
    """A figure is not there or cannot be shown; the message says why."""


@dataclass(frozen=True, slots=True)
class CollectionContent:
    """What the registry knows of a collection without looking at its datasets.

    Attributes
    ----------
    kinds
        Kinds of figures, by name.
    instruments, skymaps
        Those of the collection's datasets of any type.
    metrics
        Dataset types of metrics.
    """

    kinds: tuple[PlotKind, ...]
    instruments: tuple[str, ...]
    skymaps: tuple[str, ...]
    metrics: tuple[PlotKind, ...] = ()


def collections_with_plots(butler: Butler, pattern: str = "*") -> list[str]:
    """Return the collections that have figures, at most `MOST_COLLECTIONS`.

    Parameters
    ----------
    pattern
        Shell pattern of names.
    """
    plots = {one.name for one in butler.registry.queryDatasetTypes() if kind_of(one) is not None}
    if not plots:
        return []
    found = butler.collections.query_info(
        pattern, include_summary=True, flatten_chains=False, summary_datasets=sorted(plots)
    )
    return sorted(one.name for one in found if one.dataset_types and plots & set(one.dataset_types))[
        :MOST_COLLECTIONS
    ]


def collection_content(butler: Butler, collection: str) -> CollectionContent:
    """Return the kinds of figures of a collection, from its summary.

    Raises
    ------
    LookupError
        Raised if there is no such collection.
    """
    try:
        summary = butler.registry.getCollectionSummary(collection)
    except MissingCollectionError as error:
        raise LookupError(f"The repository has no collection {collection[:200]}.") from error
    kinds = sorted(kind for kind in map(kind_of, summary.dataset_types) if kind is not None)
    governors = summary.governors
    return CollectionContent(
        tuple(kinds),
        tuple(sorted(governors.get("instrument", ()))),
        tuple(sorted(governors.get("skymap", ()))),
        tuple(sorted(one for one in (kind_of(each, METRICS) for each in summary.dataset_types) if one)),
    )


def places_of(
    butler: Butler,
    collection: str,
    kinds: Sequence[PlotKind],
    instrument: str = "",
    skymap: str = "",
    most: int = MOST_PLACES,
) -> list[Place]:
    """Return the places of which a collection has figures: later visits first, then by detector or tract.

    Parameters
    ----------
    kinds
        Kinds of one tab; the first `MOST_KINDS_FOR_PLACES` are asked.
    instrument, skymap
        Only figures of these, where a kind has one.
    most
        Maximum number.
    """
    found: set[Place] = set()
    for kind in kinds[:MOST_KINDS_FOR_PLACES]:
        names = kind.place_dimensions
        if not names:
            found.add(())
            continue
        where, bind = _where(kind, instrument, skymap)
        with butler.query() as query:
            rows = query.join_dataset_search(kind.name, collections=[collection]).data_ids(names)
            if where:
                rows = rows.where(where, bind=bind)
            order = [f"-{name}" if name in ("visit", "exposure", "group") else name for name in names]
            for row in rows.order_by(*order).limit(most):
                found.add(tuple((name, row[name]) for name in names))
    return sorted(found, key=place_order)[:most]


def plots_at(
    butler: Butler,
    collection: str,
    kinds: Iterable[PlotKind],
    place: Place,
    instrument: str = "",
    skymap: str = "",
) -> list[PlotRef]:
    """Return the figures of a place, at most `MOST_PLOTS` of each kind, by kind and data ID."""
    found: list[PlotRef] = []
    names = tuple(name for name, _ in place)
    for kind in kinds:
        if kind.place_dimensions != names:
            continue
        where, bind = _where(kind, instrument, skymap, place)
        refs = butler.query_datasets(
            kind.name, collection, where=where, bind=bind, limit=MOST_PLOTS, explain=False
        )
        found += sorted((ref_of(ref, kind) for ref in refs), key=lambda one: place_order(one.data_id))
    return found


def read_plot(butler: Butler, ref: PlotRef) -> tuple[bytes, str]:
    """Return the bytes of a figure's file, and its media type.

    Raises
    ------
    NoSuchPlotError
        Raised if the file is missing, too large, or no picture.
    """
    dataset = butler.get_dataset(ref.id)
    if dataset is None or dataset.datasetType.storageClass_name != "Plot":
        raise NoSuchPlotError(f"The repository has no figure {ref.id}.")
    try:
        # The storage class has no reader: Butler.get would fail.
        path: ResourcePath = butler.getURI(dataset)
        if path.size() > _LARGEST_BYTES:
            raise NoSuchPlotError(f"{ref.kind} has more than {_LARGEST_BYTES // 1_000_000} MB.")
        content = path.read()
    except (FileNotFoundError, DatasetNotFoundError) as error:
        raise NoSuchPlotError(f"The file of {ref.kind} is missing.") from error
    return content, picture_type(content, ref.kind)


def picture_type(content: bytes, name: str) -> str:
    """Return the media type of a picture, from its first bytes.

    Raises
    ------
    NoSuchPlotError
        Raised if browsers do not show it as a picture.
    """
    for signature, media_type in _SIGNATURES.items():
        if content.startswith(signature):
            return media_type
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    # A picture in an <img> element runs no scripts.
    if content.lstrip()[:5] in (b"<?xml", b"<svg ") and b"<svg" in content[:2000]:
        return "image/svg+xml"
    raise NoSuchPlotError(f"The file of {name} is not a picture that browsers show.")


def ref_of(ref: DatasetRef, kind: PlotKind) -> PlotRef:
    """Return a dataset as a figure."""
    return PlotRef(
        kind.name,
        tuple((name, ref.dataId[name]) for name in _ordered(kind)),
        ref.id,
        ref.run,
    )


def _ordered(kind: PlotKind) -> tuple[str, ...]:
    """Return the dimensions of a kind, those of its place first."""
    first = kind.place_dimensions
    return (*first, *(one for one in kind.dimensions if one not in first))


def _where(kind: PlotKind, instrument: str, skymap: str, place: Place = ()) -> tuple[str, dict[str, Any]]:
    wanted: dict[str, Any] = dict(place)
    if instrument and "instrument" in kind.governors:
        wanted["instrument"] = instrument
    if skymap and "skymap" in kind.governors:
        wanted["skymap"] = skymap
    return (
        " AND ".join(f"{name} = the_{name}" for name in wanted),
        {f"the_{name}": value for name, value in wanted.items()},
    )


def place_order(place: Place) -> tuple[Any, ...]:
    """Return a key by which places are sorted: later observations first."""
    values = []
    for name, value in place:
        if name in ("visit", "exposure") and isinstance(value, int):
            values.append((name, -value, ""))
        elif isinstance(value, int):
            values.append((name, value, ""))
        else:
            values.append((name, 0, str(value)))
    return tuple(values)
