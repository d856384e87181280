"""Read what a processing has written to a repository."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import pandas as pd
from lsst.daf.butler import (  # type: ignore[attr-defined]
    Butler,
    CollectionType,
    DatasetRef,
    MissingDatasetTypeError,
)

__all__ = ["METRICS", "SOURCES", "Outputs", "own_runs", "read_outputs", "refs_of_images"]

SOURCES = "dia_source_apdb"
"""Dataset type of the DiaSources that were written to the APDB."""
METRICS = "alertProduction_metrics"
"""Dataset type of the metrics of a visit-detector."""

_METRIC_COLUMNS = ["visit", "detector", "metric", "value", "unit"]


class Outputs:
    """The DiaSources and metrics of one processing.

    Attributes
    ----------
    sources
        DiaSources, with the APDB's columns.
    metrics
        Rows of ``visit``, ``detector``, ``metric``, ``value``, ``unit``.
    processed
        Visit-detectors with a table of DiaSources, even an empty one.
    """

    def __init__(self, sources: pd.DataFrame, metrics: pd.DataFrame, processed: set[tuple[int, int]]) -> None:
        self.sources = sources
        self.metrics = metrics
        self.processed = processed


def own_runs(butler: Butler, output: str) -> list[str]:
    """Return the runs that a processing has written: its chain also has its inputs, the first outputs too."""
    return sorted(butler.collections.query(f"{output}/*", collection_types={CollectionType.RUN}))


def read_outputs(
    butler: Butler, collection: str | Collection[str], instrument: str, visits: Collection[int]
) -> Outputs:
    """Read the outputs of some visits.

    Parameters
    ----------
    butler
        The repository.
    collection
        Chain or runs of the processing.
    instrument
        Camera.
    visits
        Ids.
    """
    frames, processed = [], set()
    for ref in refs_of_images(butler, SOURCES, collection, instrument, visits):
        table = butler.get(ref)
        frame = table if isinstance(table, pd.DataFrame) else table.to_pandas()
        processed.add((int(ref.dataId["visit"]), int(ref.dataId["detector"])))
        if len(frame):
            frames.append(frame)
    rows: list[dict[str, Any]] = []
    for ref in refs_of_images(butler, METRICS, collection, instrument, visits):
        # Read as JSON: the Python type of the bundle may be absent here.
        for bundle in json.loads(butler.getURI(ref).read()).values():
            rows += [
                {"visit": ref.dataId["visit"], "detector": ref.dataId["detector"]}
                | {name: one[name] for name in ("metric", "value", "unit")}
                for one in bundle
            ]
    empty = pd.DataFrame(columns=["diaSourceId", "visit", "detector", "ra", "dec", "psfFlux", "psfFluxErr",
                                  "reliability", "snr"])  # fmt: skip
    sources = pd.concat(frames, ignore_index=True) if frames else empty
    return Outputs(sources, pd.DataFrame(rows, columns=_METRIC_COLUMNS), processed)


def refs_of_images(
    butler: Butler,
    kind: str,
    collection: str | Collection[str],
    instrument: str,
    visits: Collection[int],
    dimension: str = "visit",
    most: int | None = None,
) -> list[DatasetRef]:
    """Return the datasets of a kind of some visits' detectors, in order of visit and detector.

    Parameters
    ----------
    butler
        The repository.
    kind
        Dataset type.
    collection
        Chain or runs; none have nothing.
    instrument
        Camera.
    visits
        Ids, which are also those of their first exposures.
    dimension
        ``visit`` or ``exposure``.
    most
        Largest number of datasets, the earliest; by default all.
    """
    if not collection:
        return []
    try:
        return butler.query_datasets(
            kind,
            collection,
            where=f"instrument = inst AND {dimension} IN (ids)",
            bind={"inst": instrument, "ids": sorted(set(visits))},
            order_by=[dimension, "detector"],
            limit=most,
            explain=False,
        )
    except MissingDatasetTypeError:
        return []
