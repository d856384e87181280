"""Extend chains of collections without losing members."""

from __future__ import annotations

from collections.abc import Sequence

from lsst.daf.butler import Butler, CollectionType, MissingCollectionError  # type: ignore[attr-defined]

from prompt_processing.domain.errors import RepositoryProblemError


def add_to_chain(butler: Butler, chain: str, members: Sequence[str]) -> list[str]:
    """Prepend collections to a chain, which is created if missing.

    Parameters
    ----------
    butler
        Writeable.
    chain
        Name of the chain.
    members
        Collections, in the order in which they are searched.

    Returns
    -------
    added
        Collections that were not in the chain.

    Raises
    ------
    RepositoryProblemError
        Raised if the collection of that name is not a chain.
    """
    try:
        kind = butler.collections.get_info(chain).type
    except MissingCollectionError:
        butler.collections.register(chain, CollectionType.CHAINED)
        kind = CollectionType.CHAINED
    if kind is not CollectionType.CHAINED:
        raise RepositoryProblemError(
            f"{chain} is a {kind.name} collection, but the workers expect a chain: rename it, "
            "or move its datasets to a run below it."
        )
    there = butler.collections.get_info(chain).children
    added = [member for member in members if member not in there]
    if added:
        butler.collections.prepend_chain(chain, added)
    return added
