"""Measure fluxes at the positions of known and new DiaObjects, detected or not."""

from __future__ import annotations

import numpy as np
import pandas as pd
from astropy.time import Time
from astropy.wcs import WCS
from numpy.typing import ArrayLike, NDArray

from prompt_processing.apdb.tables import ApdbTable
from prompt_processing.domain.ids import pack_ids
from prompt_processing.images import Exposure, VisitInfo
from prompt_processing.imaging.psf_flux import forced_psf_flux


def positions_on_image(
    wcs: WCS, shape: tuple[int, int], ra: ArrayLike, dec: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Compute the pixel positions of sky positions.

    Parameters
    ----------
    wcs
        WCS of the image; (0, 0) is the centre of the first pixel.
    shape
        Height and width of the image, pixels.
    ra, dec : array_like, shape (n,)
        ICRS, degrees.

    Returns
    -------
    x, y : `~numpy.ndarray`, shape (n,)
        Pixels; NaN where the projection is undefined.
    on_image : `~numpy.ndarray` of bool, shape (n,)
        Whether the position falls on a pixel of the image.
    """
    ra, dec = np.atleast_1d(np.asarray(ra, np.float64)), np.atleast_1d(np.asarray(dec, np.float64))
    if not ra.size:
        return np.empty(0), np.empty(0), np.empty(0, bool)
    # Distortion polynomials may diverge far off the image: positions that the linear part places outside stay
    # outside.
    x, y = wcs.wcs_world2pix(ra, dec, 0)
    height, width = shape
    margin = 0.1 * max(height, width)
    near = (np.abs(x - width / 2) < width / 2 + margin) & (np.abs(y - height / 2) < height / 2 + margin)
    if near.any():
        x[near], y[near] = wcs.all_world2pix(ra[near], dec[near], 0, quiet=True)
    on_image = near & (x >= -0.5) & (x < width - 0.5) & (y >= -0.5) & (y < height - 0.5)
    return x, y, on_image


def measure_forced_sources(
    objects: pd.DataFrame,
    difference: Exposure,
    science: Exposure,
    visit_info: VisitInfo,
    table: ApdbTable,
    processed: Time,
) -> pd.DataFrame:
    """Measure the PSF flux at each DiaObject that falls on the image.

    Parameters
    ----------
    objects : `~pandas.DataFrame`
        Columns ``diaObjectId``, ``ra``, ``dec`` (degrees); objects off the image are ignored.
    difference, science
        Images in nJy, on the same pixels, each with a PSF; the difference's WCS is used.
    visit_info
        Identity, time and filter of the visit.
    table : `ApdbTable`
        The DiaForcedSource table.
    processed
        Time of the computation.

    Returns
    -------
    forced : `~pandas.DataFrame`
        Rows of the DiaForcedSource table; fluxes are null where too few
        pixels are usable.

    Raises
    ------
    ValueError
        Raised if the difference has no WCS.
    """
    if difference.wcs is None:
        raise ValueError("Forced photometry needs an image with a WCS.")
    ra, dec = objects["ra"].to_numpy(np.float64), objects["dec"].to_numpy(np.float64)
    x, y, on_image = positions_on_image(difference.wcs, difference.shape, ra, dec)
    n_objects = int(on_image.sum())
    columns: dict[str, object] = {}
    for name, exposure in (("psfFlux", difference), ("scienceFlux", science)):
        if n_objects:
            flux, err, _ = forced_psf_flux(exposure, x[on_image], y[on_image])
        else:
            flux, err = np.empty(0), np.empty(0)
        columns[name], columns[f"{name}Err"] = flux, err
    return table.conform(
        {
            "diaForcedSourceId": pack_ids(visit_info.exposure, visit_info.detector, np.arange(n_objects)),
            "diaObjectId": objects["diaObjectId"].to_numpy(np.int64)[on_image],
            "ra": ra[on_image],
            "dec": dec[on_image],
            "visit": np.full(n_objects, visit_info.exposure, np.int64),
            "detector": np.full(n_objects, visit_info.detector, np.int16),
            "midpointMjdTai": np.full(n_objects, visit_info.mid_mjd_tai),
            "band": np.full(n_objects, visit_info.band, object),
            "timeProcessedMjdTai": np.full(n_objects, float(processed.tai.mjd)),
            **columns,
        }
    )
