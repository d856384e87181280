"""Move reference stars from the epoch of their catalogue to that of an image."""

from __future__ import annotations

import erfa  # type: ignore[import-untyped]
import numpy as np
from astropy import units as u
from astropy.table import Table
from astropy.time import Time
from numpy.typing import NDArray

from prompt_processing.domain.sky_vectors import positions, unit_vectors

_YEAR_DAYS = 365.25


def at_epoch(reference: Table, mjd_tai: float) -> Table:
    """Apply proper motion and parallax.

    Parameters
    ----------
    reference : `~astropy.table.Table`
        Stars with ``ra`` and ``dec`` (ICRS degrees) at ``epoch`` (MJD, TAI), ``pm_ra`` (including cos dec)
        and ``pm_dec``, and optionally ``parallax``. Without a unit, motions are in mas/yr and parallaxes in
        mas.
    mjd_tai : `float`
        Epoch of the image.

    Returns
    -------
    moved : `~astropy.table.Table`
        The catalogue with new ``ra`` and ``dec``; the same table if it has no motions or no epochs.
        Stars of unknown motion or epoch stay where they are.

    Notes
    -----
    Stars move in straight lines on the tangent plane of their catalogue position, which is exact to 0.1 mas
    for 1 arcsec/yr over a century. Radial velocities are ignored.
    """
    motions = {"pm_ra", "pm_dec", "epoch"} <= set(reference.colnames)
    if not motions or len(reference) == 0 or not np.isfinite(mjd_tai):
        return reference
    ra, dec = np.asarray(reference["ra"], float), np.asarray(reference["dec"], float)
    alpha, delta = np.radians(ra), np.radians(dec)
    east = np.stack([-np.sin(alpha), np.cos(alpha), np.zeros_like(alpha)], axis=-1)
    north = np.stack([-np.sin(delta) * np.cos(alpha), -np.sin(delta) * np.sin(alpha), np.cos(delta)], axis=-1)
    years = np.nan_to_num((mjd_tai - _values(reference, "epoch", u.day)) / _YEAR_DAYS)
    shift = (
        years[:, np.newaxis]
        * (
            _values(reference, "pm_ra", u.mas / u.yr)[:, np.newaxis] * east
            + _values(reference, "pm_dec", u.mas / u.yr)[:, np.newaxis] * north
        )
    )  # fmt: skip
    if "parallax" in reference.colnames:
        shift = shift - _values(reference, "parallax", u.mas)[:, np.newaxis] * _earth(mjd_tai)
    shift = np.nan_to_num(shift) * np.radians(1 / 3.6e6)
    moved = unit_vectors(ra, dec) + shift
    still = ~np.any(shift != 0, axis=1)
    new_ra, new_dec = positions(moved)
    result = reference.copy(copy_data=False)
    result["ra"] = np.where(still, ra, new_ra)
    result["dec"] = np.where(still, dec, new_dec)
    return result


def _values(table: Table, name: str, unit: u.UnitBase) -> NDArray[np.float64]:
    """Return a column in a unit, with NaN where it is masked; without a unit it is in that one already."""
    column = table[name]
    values = np.ma.filled(np.ma.asarray(column, dtype=float), np.nan)
    own = column.unit
    if own is None or own == unit:
        return np.asarray(values, float)
    with u.set_enabled_equivalencies(u.dimensionless_angles()):
        return np.asarray((values * own).to_value(unit), float)


def _earth(mjd_tai: float) -> NDArray[np.float64]:
    """Return the Earth's position from the barycentre, au."""
    tdb = Time(mjd_tai, format="mjd", scale="tai").tdb
    _, barycentric = erfa.epv00(tdb.jd1, tdb.jd2)
    return np.asarray(barycentric["p"], float)
