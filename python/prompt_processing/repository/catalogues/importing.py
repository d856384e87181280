"""Enter reference stars into a repository."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from astropy.table import Table, vstack
from lsst.daf.butler import (  # type: ignore[attr-defined]
    Butler,
    CollectionType,
    DatasetRef,
    MissingCollectionError,
)

from prompt_processing.repository.central import register_inputs
from prompt_processing.repository.chains import add_to_chain
from prompt_processing.repository.reference_stars import shards

from .errors import CatalogueError

_LOG = logging.getLogger(__name__)

DATASET_TYPE = "reference_stars"
_CHAIN = "refcats"


@dataclass(frozen=True, slots=True)
class EnteredStars:
    """Result of entering stars.

    Attributes
    ----------
    run
        Collection of the shards.
    shards
        Number of shards that were written.
    merged
        Number of those that had stars before.
    stars
        Number of stars in the written shards.
    """

    run: str
    shards: int
    merged: int
    stars: int


def enter_stars(butler: Butler, stars: Table, label: str, *, add: bool = False) -> EnteredStars:
    """Write reference stars as shards, and put their run first in the chain ``refcats``.

    Parameters
    ----------
    butler
        Writeable.
    stars
        Reference stars; see `.standard.StandardCatalogue`.
    label
        Name of the run below ``refcats/``.
    add
        Whether stars may be added to a run that exists. In a shard that has stars already, those of the
        same id are replaced.

    Raises
    ------
    CatalogueError
        Raised if the run exists and `add` is not set, or if it has other bands; nothing is written then.
    """
    run = f"{_CHAIN}/{label}"
    existing = _existing(butler, run)
    if existing and not add:
        raise CatalogueError(
            f"{run} has {len(existing)} shards already. Choose another name, or add to it with --add."
        )
    new: dict[int, Table] = {}
    merged = 0
    for pixel, shard in shards(stars):
        if pixel in existing:
            shard = _merged(butler.get(existing[pixel]), shard, run)
            merged += 1
        new[pixel] = shard
    butler.collections.register(run, CollectionType.RUN)
    register_inputs(butler, DATASET_TYPE)
    if replaced := [existing[pixel] for pixel in new if pixel in existing]:
        butler.pruneDatasets(replaced, disassociate=True, unstore=True, purge=True)
    with butler.transaction():
        for pixel, shard in new.items():
            butler.put(shard, DATASET_TYPE, htm7=pixel, run=run)
    add_to_chain(butler, _CHAIN, [run])
    _LOG.info("Wrote %d shards of reference stars to %s.", len(new), run)
    return EnteredStars(run, len(new), merged, sum(len(shard) for shard in new.values()))


def _existing(butler: Butler, run: str) -> dict[int, DatasetRef]:
    try:
        butler.collections.get_info(run)
    except MissingCollectionError:
        return {}
    refs = butler.query_datasets(DATASET_TYPE, collections=run, find_first=False, explain=False, limit=None)
    return {int(ref.dataId["htm7"]): ref for ref in refs}


def _merged(old: Table, new: Table, run: str) -> Table:
    if set(old.colnames) != set(new.colnames):
        differing = ", ".join(sorted(set(old.colnames) ^ set(new.colnames)))
        raise CatalogueError(
            f"The columns of {run} differ from those of these stars: {differing}. Choose another name."
        )
    kept = old[~np.isin(np.asarray(old["id"]), np.asarray(new["id"]))]
    return vstack([kept, new], metadata_conflicts="silent")
