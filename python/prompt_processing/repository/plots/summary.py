"""Summary of a collection's figures in one file, so that pages need not ask the registry."""

from __future__ import annotations

import gzip
import json
import uuid
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, quote_plus

from lsst.daf.butler import Butler
from lsst.resources import ResourcePath

from .find import MOST_PLACES, MOST_PLOTS, collection_content, place_order, ref_of
from .kinds import Place, PlotKind, PlotRef

__all__ = [
    "PlotSummary",
    "SummaryError",
    "places_in",
    "plots_in",
    "read_summary",
    "summarize",
    "summary_path",
    "write_summary",
]

_LARGEST_BYTES = 200_000_000
"""Size of a summary, unpacked; 100 000 figures take 20 MB."""
_SECTIONS = {"tract": "tracts", "visit": "visits", "detector": "visits", "global": "global"}
"""The field's format has three sections; figures of detectors are with those of visits."""


class SummaryError(ValueError):
    """A summary cannot be read; the message names its file."""


@dataclass(frozen=True, slots=True)
class PlotSummary:
    """Figures of a collection.

    Attributes
    ----------
    plots
        Figures by kind.
    """

    plots: dict[str, tuple[PlotRef, ...]]

    @property
    def n_plots(self) -> int:
        """Number of figures."""
        return sum(map(len, self.plots.values()))


def summary_path(folder: str, repository: str, collection: str) -> ResourcePath:
    """Return where the summary of a collection is: ``<folder>/<repository>/collection_<name>.json.gz``.

    Parameters
    ----------
    folder
        Folder or bucket of all summaries.
    repository, collection
        Names, which are URL-encoded in the path.

    Raises
    ------
    ValueError
        Raised if a name is empty, or consists of dots.
    """
    if not repository.strip(".") or not collection.strip("."):
        raise ValueError("repository and collection need names")
    root = ResourcePath(folder, forceDirectory=True, forceAbsolute=True).geturl()
    # Names are encoded twice: the encoded name is the file's, and its URI encodes that again.
    name = quote(f"collection_{quote_plus(collection)}.json.gz")
    return ResourcePath(f"{root}{quote(quote_plus(repository))}/{name}")


def summarize(butler: Butler, collection: str) -> tuple[list[PlotKind], dict[str, list[PlotRef]]]:
    """Return the kinds and the figures of a collection; each figure once, from the first run that has it.

    Raises
    ------
    LookupError
        Raised if there is no such collection.
    """
    kinds = collection_content(butler, collection).kinds
    plots = {
        kind.name: [
            ref_of(ref, kind)
            for ref in butler.query_datasets(kind.name, collection, limit=None, explain=False)
        ]
        for kind in kinds
    }
    return list(kinds), plots


def write_summary(butler: Butler, repository: str, collection: str, folder: str) -> tuple[ResourcePath, int]:
    """Write the summary of a collection in the format of the field's plot navigator.

    Parameters
    ----------
    butler
        The repository.
    repository
        Its name for readers.
    collection
        The collection.
    folder
        Folder or bucket of all summaries.

    Returns
    -------
    path
        The file.
    n_plots
        Number of figures.

    Raises
    ------
    LookupError
        Raised if there is no such collection.
    """
    kinds, plots = summarize(butler, collection)
    sections: dict[str, dict[str, Any]] = {"tracts": {}, "visits": {}, "global": {}}
    for kind in kinds:
        if plots[kind.name]:
            sections[_SECTIONS[kind.tab]][kind.name] = [
                {"dataId": json.dumps(dict(one.data_id)), "id": str(one.id)} for one in plots[kind.name]
            ]
    path = summary_path(folder, repository, collection)
    path.parent().mkdir()
    # Without a time in it, the same figures make the same file.
    path.write(gzip.compress(json.dumps(sections).encode(), mtime=0), overwrite=True)
    return path, sum(map(len, plots.values()))


def read_summary(path: ResourcePath, kinds: Iterable[PlotKind]) -> PlotSummary | None:
    """Read a summary; `None` if there is none.

    Parameters
    ----------
    path
        Result of `summary_path`.
    kinds
        Kinds of figures of the collection; others are left out.

    Raises
    ------
    SummaryError
        Raised if the file is damaged or too large.
    """
    if not path.exists():
        return None
    try:
        unpacked = zlib.decompressobj(wbits=31)
        text = unpacked.decompress(path.read(), _LARGEST_BYTES)
        if unpacked.unconsumed_tail:
            raise SummaryError(f"{path} is larger than {_LARGEST_BYTES // 1_000_000} MB unpacked")
        sections = json.loads(text)
        plots: dict[str, tuple[PlotRef, ...]] = {}
        for kind in kinds:
            entries = sections.get(_SECTIONS[kind.tab], {}).get(kind.name, [])
            plots[kind.name] = tuple(
                PlotRef(kind.name, tuple(json.loads(one["dataId"]).items()), uuid.UUID(one["id"]))
                for one in entries
            )
    except (zlib.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SummaryError(f"{path} is not a summary of plots: {error}") from error
    return PlotSummary(plots)


def places_in(
    summary: PlotSummary, kinds: Sequence[PlotKind], instrument: str = "", skymap: str = ""
) -> list[Place]:
    """Return places as `.find.places_of` does, from a summary."""
    found: set[Place] = set()
    for kind in kinds:
        for one in summary.plots.get(kind.name, ()):
            values = dict(one.data_id)
            if _fits(values, instrument, skymap):
                found.add(tuple((name, values[name]) for name in kind.place_dimensions))
    return sorted(found, key=place_order)[:MOST_PLACES]


def plots_in(
    summary: PlotSummary, kinds: Iterable[PlotKind], place: Place, instrument: str = "", skymap: str = ""
) -> list[PlotRef]:
    """Return figures as `.find.plots_at` does, from a summary."""
    names = tuple(name for name, _ in place)
    found: list[PlotRef] = []
    for kind in kinds:
        if kind.place_dimensions != names:
            continue
        here = [
            one
            for one in summary.plots.get(kind.name, ())
            if _fits(values := dict(one.data_id), instrument, skymap)
            and all(values.get(name) == value for name, value in place)
        ]
        found += sorted(here, key=lambda one: place_order(one.data_id))[:MOST_PLOTS]
    return found


def _fits(values: dict[str, int | str], instrument: str, skymap: str) -> bool:
    return (not instrument or values.get("instrument", instrument) == instrument) and (
        not skymap or values.get("skymap", skymap) == skymap
    )
