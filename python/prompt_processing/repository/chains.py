"""Chains of collections, changed without losing what is in them."""

from __future__ import annotations

from collections.abc import Sequence

from lsst.daf.butler import Butler, CollectionType, MissingCollectionError  # type: ignore[attr-defined]

from prompt_processing.domain.errors import RepositoryProblemError


def add_to_chain(butler: Butler, chain: str, members: Sequence[str]) -> list[str]:
    """Put collections in front of a chain, which is made if there is none.

    Parameters
    ----------
    butler : `~lsst.daf.butler.Butler`
        Writeable.
    chain : `str`
        The chain.
    members : sequence of `str`
        Collections, the one to be searched first in front.

    Returns
    -------
    added : `list` [`str`]
        Those that were not in it.

    Raises
    ------
    RepositoryProblemError
        There is a collection of the chain's name that is no chain.
    """
    try:
        kind = butler.collections.get_info(chain).type
    except MissingCollectionError:
        butler.collections.register(chain, CollectionType.CHAINED)
        kind = CollectionType.CHAINED
    if kind is not CollectionType.CHAINED:
        raise RepositoryProblemError(
            f"{chain} is a collection of the kind {kind.name}, where the workers expect a chain: rename it, "
            "or move its datasets to a run below it."
        )
    there = butler.collections.get_info(chain).children
    added = [member for member in members if member not in there]
    if added:
        butler.collections.prepend_chain(chain, added)
    return added
