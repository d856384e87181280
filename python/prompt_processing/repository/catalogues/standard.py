"""Turn the columns of a downloaded catalogue into those of the repository's reference stars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import Angle
from astropy.table import Table
from astropy.time import Time
from numpy.typing import NDArray

from prompt_processing.images.photo_calib import NJY_ZERO_POINT

from .errors import CatalogueError
from .layouts import MOTION, Layout

BRIGHTEST, FAINTEST = -5.0, 40.0
"""Credible AB magnitudes; catalogues mark missing ones by values such as -999 or 99.9."""

FASTEST_MAS_PER_YEAR = 12_000.0
"""Credible proper motion; that of Barnard's star is 10 400 mas/yr."""

_MAG = 2.5 / np.log(10)
_UNITS: dict[str, u.UnitBase] = {
    "ra": u.deg,
    "dec": u.deg,
    "pm_ra": u.mas / u.yr,
    "pm_dec": u.mas / u.yr,
    "parallax": u.mas,
}

GAIA_TO_SDSS = {
    "g": ((0.2199, -0.6365, -0.1548, 0.0064), (0.3, 3.0), 0.0745),
    "r": ((-0.09837, 0.08592, 0.1907, -0.1701, 0.02263), (0.0, 3.0), 0.0379),
    "i": ((-0.293, 0.6404, -0.09609, -0.002104), (0.5, 2.0), 0.0410),
}
"""G minus the SDSS magnitude as a polynomial of BP-RP (all Vega magnitudes of Gaia), the range of BP-RP and
the scatter, from the documentation of Gaia EDR3, section 5.5.1."""


@dataclass(slots=True)
class StandardCatalogue:
    """Reference stars, and what was left out.

    Attributes
    ----------
    stars
        ``id``, ``ra``, ``dec`` (ICRS degrees), ``<band>_flux`` and ``<band>_fluxErr`` (AB, nJy; NaN where
        unknown), and where known ``pm_ra`` (with cos dec), ``pm_dec`` (mas/yr), ``parallax`` (mas) and
        ``epoch`` (MJD, TAI).
    dropped
        Number of rows left out, by reason.
    derived
        Bands whose fluxes were derived from other bands.
    """

    stars: Table
    dropped: dict[str, int] = field(default_factory=dict)
    derived: tuple[str, ...] = ()

    @property
    def bands(self) -> tuple[str, ...]:
        """Bands with fluxes."""
        return tuple(name.removesuffix("_flux") for name in self.stars.colnames if name.endswith("_flux"))


def standardise(
    table: Table,
    layout: Layout,
    *,
    units: Mapping[str, str] | None = None,
    to_ab: Mapping[str, float] | None = None,
    epoch: float | None = None,
    faint: float = FAINTEST,
    bright: float = BRIGHTEST,
) -> StandardCatalogue:
    """Select and convert the rows of a catalogue.

    Parameters
    ----------
    table
        The catalogue as it was downloaded.
    layout
        Meaning of its columns.
    units
        Unit by quantity or band, for columns without a unit or with a wrong one.
    to_ab
        What to add to a band's magnitudes to make them AB magnitudes.
    epoch
        Julian year of all positions.
    faint, bright
        Limits, AB magnitudes; stars within them in any band are kept.

    Raises
    ------
    CatalogueError
        Raised if the columns do not make a reference catalogue.
    """
    units = units or {}
    _require_columns(table, layout)
    ra, dec = _positions(table, layout, units)
    offsets = {**layout.to_ab, **(to_ab or {})}
    fluxes: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]] = {
        band: _fluxes(table, layout, band, units, offsets.get(band, 0.0)) for band in layout.bands
    }
    derived = _derive_from_gaia(fluxes, offsets)
    known = np.any([np.isfinite(flux) for flux, _ in fluxes.values()], axis=0)
    if not known.any():
        raise CatalogueError(
            f"No row has a credible magnitude in {', '.join(layout.bands)}: check the columns and units."
        )
    magnitudes = np.stack([NJY_ZERO_POINT - 2.5 * np.log10(flux) for flux, _ in fluxes.values()])
    with np.errstate(invalid="ignore"):
        within = np.any((magnitudes <= faint) & (magnitudes >= bright), axis=0)
    keep = np.ones(len(table), np.bool_)
    dropped: dict[str, int] = {}

    def drop(why: str, rows: NDArray[np.bool_]) -> None:
        nonlocal keep
        if n := int(np.count_nonzero(keep & rows)):
            dropped[why] = n
        keep &= ~rows

    drop("no position", ~(np.isfinite(ra) & np.isfinite(dec)))
    drop("no magnitude", ~known)
    drop("beyond the magnitude limits", ~within)
    drop("extended", _extended(table, layout))
    ids = _ids(table, layout)
    drop("listed before", _repeated(ids, keep))
    if not keep.any():
        reasons = ", ".join(f"{n} {why}" for why, n in dropped.items())
        raise CatalogueError(f"No row is left: {reasons}.")
    stars = Table({"id": ids, "ra": ra, "dec": dec})
    for name, values in _motions(table, layout, units, epoch).items():
        stars[name] = values
        stars[name].unit = _UNITS.get(name, u.day)
    for band, (flux, error) in fluxes.items():
        stars[f"{band}_flux"], stars[f"{band}_fluxErr"] = flux, error
        stars[f"{band}_flux"].unit = stars[f"{band}_fluxErr"].unit = u.nJy
    for name in ("ra", "dec"):
        stars[name].unit = u.deg
    return StandardCatalogue(stars[keep], dropped, derived)


def _require_columns(table: Table, layout: Layout) -> None:
    names = ", ".join(table.colnames)
    missing = [name for name in ("ra", "dec") if name not in layout.columns]
    if missing:
        raise CatalogueError(
            f"No column is known to be {' or '.join(missing)}; name it, for example "
            f"--column {missing[0]}=NAME. The table has {names}."
        )
    if not layout.bands:
        raise CatalogueError(
            "No column is known to be a magnitude or flux; name one for each band, for example --column "
            f"r=NAME --column r_err=NAME. The table has {names}."
        )


def _numbers(table: Table, name: str) -> NDArray[np.float64]:
    """Return a column as numbers, with NaN where it is masked."""
    column = table[name]
    if column.dtype.kind not in "fiub":
        try:
            text = np.char.strip(np.ma.filled(np.ma.asarray(column), "nan").astype(str))
            return np.where((text == "") | (text == "null"), "nan", text).astype(float)
        except ValueError:
            example = next(
                (word for word in np.ma.asarray(column).compressed() if not _is_number(word)), column[0]
            )
            raise CatalogueError(f"Column {name} holds {example!r}, which is not a number.") from None
    return np.asarray(np.ma.filled(np.ma.asarray(column, dtype=float), np.nan), float)


def _is_number(word: Any) -> bool:
    try:
        float(word)
    except (TypeError, ValueError):
        return False
    return True


def _unit(table: Table, name: str, what: str, units: Mapping[str, str], default: u.UnitBase) -> u.UnitBase:
    """Return the unit of a column: that of the option, of the table, or the usual one."""
    if what in units:
        try:
            return u.Unit(units[what])
        except (ValueError, TypeError) as error:
            raise CatalogueError(f"The unit of {what}, {units[what]!r}, is unknown.") from error
    own = table[name].unit
    if own is None or str(own).strip() == "" or isinstance(own, u.UnrecognizedUnit):
        return default
    return own


def _positions(
    table: Table, layout: Layout, units: Mapping[str, str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    degrees = {}
    for what in ("ra", "dec"):
        name = layout.columns[what]
        column = table[name]
        if (column.dtype.kind in "US" and ":" in str(column[0])) or " " in str(column[0]).strip():
            unit = u.Unit(units.get(what, "hourangle" if what == "ra" else "deg"))
            try:
                degrees[what] = np.asarray(Angle(column.astype(str), unit).deg, float)
            except (ValueError, u.UnitsError) as error:
                raise CatalogueError(f"Column {name} is not a sexagesimal {what}: {error}") from error
            continue
        values = _numbers(table, name)
        unit = _unit(table, name, what, units, u.deg)
        try:
            degrees[what] = np.asarray((values * unit).to_value(u.deg), float)
        except u.UnitsError as error:
            raise CatalogueError(f"Column {name} is in {unit}, which is not an angle.") from error
    ra, dec = degrees["ra"], degrees["dec"]
    with np.errstate(invalid="ignore"):
        beyond = (np.abs(dec) > 90) | (ra < -180) | (ra > 360)
    if beyond.any():
        row = int(np.flatnonzero(beyond)[0])
        raise CatalogueError(
            f"Row {row + 1} has the position ({ra[row]:.6g}, {dec[row]:.6g}) degrees, which is not on the "
            f"sky: check the columns {layout.columns['ra']} and {layout.columns['dec']} and their units."
        )
    if not (np.isfinite(ra) & np.isfinite(dec)).any():
        raise CatalogueError("No row has a position.")
    return ra % 360.0, dec


def _fluxes(
    table: Table, layout: Layout, band: str, units: Mapping[str, str], to_ab: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    name, *error_name = layout.bands[band]
    values = _numbers(table, name)
    default = u.nJy if name.endswith("_flux") else u.mag
    unit = _unit(table, name, band, units, default)
    error = np.full(len(values), np.nan)
    if error_name:
        error = _numbers(table, error_name[0])
    if unit.is_equivalent(u.mag) or unit == u.ABmag or "mag" in str(unit):
        with np.errstate(invalid="ignore"):
            magnitude = values + to_ab
            bad = ~((magnitude > BRIGHTEST) & (magnitude < FAINTEST))
            if layout.zero_is_missing:
                bad |= values == 0
            magnitude = np.where(bad, np.nan, magnitude)
            flux = 10 ** (0.4 * (NJY_ZERO_POINT - magnitude))
            flux_error = flux * error / _MAG
    else:
        try:
            factor = float(unit.to(u.nJy))
        except u.UnitsError as problem:
            raise CatalogueError(
                f"Column {name} of band {band} is in {unit}, neither a magnitude nor a flux density; "
                f"state its unit, for example --unit {band}=nJy."
            ) from problem
        with np.errstate(invalid="ignore"):
            flux = np.where(values > 0, values * factor, np.nan)
            flux_error = error * factor
    if band in layout.snr:
        with np.errstate(invalid="ignore", divide="ignore"):
            snr = _numbers(table, layout.snr[band])
            flux_error = np.where(np.isfinite(flux_error), flux_error, flux / snr)
    with np.errstate(invalid="ignore"):
        flux_error = np.where((flux_error >= 0) & np.isfinite(flux), flux_error, np.nan)
    return flux, flux_error


def _derive_from_gaia(
    fluxes: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]], offsets: Mapping[str, float]
) -> tuple[str, ...]:
    """Add g, r and i where only Gaia's bands are there."""
    gaia = ("gaia_G", "gaia_BP", "gaia_RP")
    if not set(gaia) <= set(fluxes):
        return ()
    derived = tuple(band for band in GAIA_TO_SDSS if band not in fluxes)
    g, bp, rp = (NJY_ZERO_POINT - 2.5 * np.log10(fluxes[band][0]) - offsets.get(band, 0.0) for band in gaia)
    colour = bp - rp
    with np.errstate(invalid="ignore"):
        relative = np.nan_to_num(fluxes["gaia_G"][1] / fluxes["gaia_G"][0])
        for band in derived:
            coefficients, (bluest, reddest), scatter = GAIA_TO_SDSS[band]
            inside = (colour >= bluest) & (colour <= reddest)
            magnitude = np.where(inside, g - np.polynomial.polynomial.polyval(colour, coefficients), np.nan)
            flux = 10 ** (0.4 * (NJY_ZERO_POINT - magnitude))
            fluxes[band] = flux, flux * np.hypot(relative, scatter / _MAG)
    return derived


def _extended(table: Table, layout: Layout) -> NDArray[np.bool_]:
    rule = layout.galaxies
    if not rule:
        return np.zeros(len(table), np.bool_)
    psf, total = _numbers(table, rule["psf"]), _numbers(table, rule["total"])
    with np.errstate(invalid="ignore"):
        comparable = (psf > rule["bright"]) & (psf < rule["faint"]) & (total > BRIGHTEST)
        return np.asarray(comparable & (psf - total > rule["limit"]))


def _ids(table: Table, layout: Layout) -> NDArray[np.int64]:
    if "id" not in layout.columns:
        return np.arange(1, len(table) + 1, dtype=np.int64)
    column = np.ma.asarray(table[layout.columns["id"]])
    if column.dtype.kind in "iu":
        return np.asarray(np.ma.filled(column, -1), np.int64)
    words = np.ma.filled(column, "").astype(str)
    if all(word.strip().lstrip("-").isdigit() for word in words):
        return np.asarray([int(word) for word in words], np.int64)
    # Names such as "J1234+56": rows keep their number.
    return np.arange(1, len(table) + 1, dtype=np.int64)


def _repeated(ids: NDArray[np.int64], keep: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the rows whose id an earlier kept row has; a negative id is none."""
    rows = np.flatnonzero(keep & (ids >= 0))
    _, first = np.unique(ids[rows], return_index=True)
    repeated = np.zeros(len(ids), np.bool_)
    repeated[rows] = True
    repeated[rows[first]] = False
    return repeated


def _motions(
    table: Table, layout: Layout, units: Mapping[str, str], epoch: float | None
) -> dict[str, NDArray[np.float64]]:
    """Return proper motions, parallaxes and epochs; empty without proper motions."""
    if not {"pm_ra", "pm_dec"} <= set(layout.columns):
        return {}
    values = {}
    for what in MOTION:
        if what not in layout.columns:
            continue
        name = layout.columns[what]
        unit = _unit(table, name, what, units, _UNITS[what])
        try:
            converted = (_numbers(table, name) * unit).to_value(_UNITS[what])
        except u.UnitsError as error:
            raise CatalogueError(f"Column {name} is in {unit}, not in {_UNITS[what]}.") from error
        values[what] = np.asarray(converted, float)
    speed = np.hypot(values["pm_ra"], values["pm_dec"])
    if np.any(speed > FASTEST_MAS_PER_YEAR):
        row = int(np.flatnonzero(speed > FASTEST_MAS_PER_YEAR)[0])
        raise CatalogueError(
            f"Row {row + 1} moves by {speed[row]:.4g} mas/yr, more than any star: check the units of "
            f"{layout.columns['pm_ra']} and {layout.columns['pm_dec']}, for example --unit pm_ra=arcsec/yr."
        )
    values["epoch"] = _epochs(table, layout, epoch)
    return values


def _epochs(table: Table, layout: Layout, epoch: float | None) -> NDArray[np.float64]:
    if epoch is not None:
        numbers, unit = np.full(len(table), epoch), "jyear"
    elif "epoch" in layout.columns:
        numbers, unit = _numbers(table, layout.columns["epoch"]), layout.epoch_unit
        if np.nanmedian(numbers) > 3000:
            unit = "mjd"
    elif layout.epoch is not None:
        numbers, unit = np.full(len(table), layout.epoch), "jyear"
    else:
        raise CatalogueError(
            "The table has proper motions, but the epoch of its positions is unknown: state it, for example "
            "--epoch 2016.0."
        )
    known = np.isfinite(numbers)
    result = np.full(len(table), np.nan)
    if known.any():
        # The scales of time differ by a minute, which no star notices.
        result[known] = Time(numbers[known], format=unit, scale="tai").mjd
    if np.any((result[known] < 20000) | (result[known] > 90000)):
        raise CatalogueError("The epochs of the positions are not between 1913 and 2105: check --epoch.")
    return result
