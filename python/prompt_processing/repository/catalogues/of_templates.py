"""Make reference stars of the templates, where no catalogue exists.

Images are then calibrated relative to their templates: positions as in the template's WCS, fluxes on its
scale.
"""

from __future__ import annotations

import logging

import numpy as np
from astropy.table import Table
from lsst.daf.butler import Butler, MissingCollectionError, MissingDatasetTypeError
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from prompt_processing.domain.sky_vectors import ARCSEC, unit_vectors
from prompt_processing.imaging.templates.stars import template_stars

from .errors import CatalogueError

_LOG = logging.getLogger(__name__)

LABEL = "of_templates"
"""Name of the catalogue."""

_SAME_STAR_ARCSEC = 1.0


def stars_of_templates(butler: Butler, collections: str) -> Table:
    """Measure the stars of all templates.

    Parameters
    ----------
    butler
        The repository.
    collections
        Collection of ``template_coadd``.

    Returns
    -------
    stars
        ``id``, ``ra``, ``dec``, and ``<band>_flux`` and ``<band>_fluxErr`` (nJy), NaN where a star is not on
        the template of a band.

    Raises
    ------
    CatalogueError
        Raised if there are no templates, or no stars on them.
    """
    try:
        refs = butler.query_datasets("template_coadd", collections=collections, explain=False, limit=None)
    except (MissingCollectionError, MissingDatasetTypeError):
        refs = []
    if not refs:
        raise CatalogueError(f"{collections} has no templates.")
    measured: dict[str, list[Table]] = {}
    for ref in sorted(refs):
        found = template_stars(butler.get(ref, storageClass="ExposureF"))
        _LOG.info("%d stars on the template %s.", len(found), ref.dataId)
        measured.setdefault(str(ref.dataId["band"]), []).append(found)
    stars = joined_by_position(measured)
    if len(stars) == 0:
        raise CatalogueError(f"The templates in {collections} have no stars.")
    return stars


def joined_by_position(measured: dict[str, list[Table]]) -> Table:
    """Join the bands' measurements of a star, and those on overlapping patches."""
    bands = sorted(measured)
    rows = [
        (float(row["ra"]), float(row["dec"]), band, float(row["flux"]), float(row["fluxErr"]))
        for band in bands
        for table in measured[band]
        for row in table
    ]
    # The brightest measurement gives the position.
    rows.sort(key=lambda row: -row[3])
    vectors = unit_vectors([row[0] for row in rows], [row[1] for row in rows])
    owner = _owners(vectors)
    first = np.flatnonzero(owner == np.arange(len(rows)))
    number = {int(row): n for n, row in enumerate(first)}
    table = Table(
        {
            "id": np.arange(1, len(first) + 1, dtype=np.int64),
            "ra": np.array([rows[row][0] for row in first]) % 360.0,
            "dec": np.array([rows[row][1] for row in first]),
        }
    )
    for band in bands:
        for suffix in ("flux", "fluxErr"):
            table[f"{band}_{suffix}"] = np.full(len(first), np.nan)
    for row, (_, _, band, flux, error) in enumerate(rows):
        star = number[int(owner[row])]
        if np.isnan(table[f"{band}_flux"][star]):
            table[f"{band}_flux"][star], table[f"{band}_fluxErr"][star] = flux, error
    for name in table.colnames:
        if name != "id":
            table[name].unit = "nJy" if "flux" in name else "deg"
    return table


def _owners(vectors: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return for each position the first position at the same place."""
    owner = np.arange(len(vectors))
    if len(vectors) == 0:
        return owner
    tree = cKDTree(vectors)
    for row, neighbours in enumerate(tree.query_ball_point(vectors, _SAME_STAR_ARCSEC * ARCSEC)):
        owner[row] = owner[int(np.min(neighbours))]
    return owner
