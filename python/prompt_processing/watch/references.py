"""Use the templates' stars where a repository has no reference catalogue."""

from __future__ import annotations

import logging

from lsst.daf.butler import Butler, MissingCollectionError, MissingDatasetTypeError

from prompt_processing.butler.collections import Collections
from prompt_processing.butler.opening import open_repository
from prompt_processing.butler.types import use_butler_types
from prompt_processing.repository.catalogues.errors import CatalogueError
from prompt_processing.repository.catalogues.importing import DATASET_TYPE, enter_stars
from prompt_processing.repository.catalogues.of_templates import LABEL, stars_of_templates

__all__ = ["ensure_reference_stars"]

_log = logging.getLogger("lsst.watch.references")


def ensure_reference_stars(repo: str, instrument: str) -> str:
    """Make reference stars of the templates, unless the repository has a catalogue.

    Parameters
    ----------
    repo
        Central repository.
    instrument
        Short name.

    Returns
    -------
    made
        What was made, for the user; empty if nothing was needed.
    """
    use_butler_types()
    with open_repository(repo) as reader:
        try:
            refs = reader.query_datasets(
                DATASET_TYPE, collections=Collections(instrument).refcats, explain=False, limit=1
            )
        except (MissingCollectionError, MissingDatasetTypeError):
            refs = []
    if refs:
        return ""
    with Butler.from_config(repo, writeable=True) as butler:
        try:
            stars = stars_of_templates(butler, Collections(instrument).templates)
            entered = enter_stars(butler, stars, LABEL)
        except CatalogueError as error:
            _log.warning("Neither reference stars nor templates: %s", error)
            return f"No reference stars: images cannot be calibrated ({error})"
    return f"No reference catalogue: {entered.stars} stars of the templates serve instead."
