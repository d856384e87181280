"""Tables that the stack's ``afw.table`` wrote: reference and source catalogues."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
from astropy.io import fits
from astropy.table import Table

from ..damaged_files import naming_the_file
from .archive import text_of
from .errors import StackFileError, UnreadableTypeError

__all__ = ["StackCatalogue", "read_catalogue", "read_reference_catalogue"]

_NJY_VERSION = 1
"""Version of reference catalogues since which fluxes are in nJy and motions in radians per year."""

_SYSTEMS = ("monster_ComCam", "monster_SynthLSST", "monster_DES", "monster_SDSS")
"""Photometric systems of a catalogue that has several, best first for an LSST camera."""

_STRUCTURE = ("XTENSION", "BITPIX", "NAXIS", "PCOUNT", "GCOUNT", "TFIELDS", "EXTNAME", "EXTVER", "COMMENT")


class StackCatalogue(Table):
    """Table that the stack wrote.

    A class of its own, so that the Butler takes it for a table, but no table for one of the stack's.
    """


@naming_the_file("a catalogue of the stack", StackFileError, UnreadableTypeError)
def read_catalogue(path: str | Path) -> StackCatalogue:
    """Read a catalogue, such as a ``SourceCatalog``.

    Parameters
    ----------
    path
        The file. Footprints, which are in its archive, are left out.

    Returns
    -------
    table
        Columns by the stack's names; each flag is a column of booleans. Units that astropy knows are kept.
        ``meta`` has the keywords of the table.

    Raises
    ------
    StackFileError
        Raised if the file has no table.
    """
    with fits.open(path) as hdus:
        hdu = next((one for one in hdus if isinstance(one, fits.BinTableHDU)), None)
        if hdu is None:
            raise StackFileError(f"{path} has no table.")
        header = hdu.header
        flags = _flag_names(header)
        table = StackCatalogue(
            meta={
                key: value
                for key, value in header.items()
                if not key.startswith(_STRUCTURE) and not _is_of_column(key)
            }
        )
        in_archive = ("footprint",) if "AR_HDU" in header else ()
        for number, column in enumerate(hdu.columns, start=1):
            if number == header.get("FLAGCOL"):
                bits = np.asarray(hdu.data.field(number - 1), bool)
                for bit, name in flags.items():
                    table[name] = bits[:, bit]
            elif column.name not in in_archive:
                table[column.name] = _values(hdu.data.field(number - 1))
                table[column.name].unit = _unit(column.unit)
    return table


@naming_the_file("a catalogue of the stack", StackFileError, UnreadableTypeError)
def read_reference_catalogue(path: str | Path) -> StackCatalogue:
    """Read a shard of a reference catalogue (``SimpleCatalog``), such as ``the_monster_20250219``.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    table
        The columns of `read_catalogue`, and ``ra``, ``dec`` in degrees. Fluxes are in nJy; in a catalogue of
        several photometric systems, those of the first of `_SYSTEMS` are also ``<band>_flux``. ``pm_ra``,
        ``pm_dec`` in mas/yr, ``parallax`` in mas, ``epoch`` in MJD (TAI).

    Raises
    ------
    StackFileError
        Raised if it is a table without coordinates.
    """
    table = read_catalogue(path)
    if not {"coord_ra", "coord_dec"} <= set(table.colnames):
        raise StackFileError(f"{path} is not a reference catalogue: it has no coord_ra and coord_dec.")
    table["ra"] = np.degrees(np.asarray(table["coord_ra"], float))
    table["dec"] = np.degrees(np.asarray(table["coord_dec"], float))
    table["ra"].unit = table["dec"].unit = u.deg
    if table.meta.get("REFCAT_FORMAT_VERSION", 0) < _NJY_VERSION:
        # Before, fluxes were in Jy and motions in units of their own, which varied.
        for name in table.colnames:
            if name.endswith(("_flux", "_fluxSigma", "_fluxErr")) and table[name].unit is None:
                table[name] = np.asarray(table[name], float) * 1e9
                table[name].unit = u.nJy
            if name.endswith("_fluxSigma"):
                table.rename_column(name, f"{name.removesuffix('Sigma')}Err")
        table.remove_columns([name for name in ("pm_ra", "pm_dec", "epoch") if name in table.colnames])
        return table
    for name, unit in (("pm_ra", u.mas / u.yr), ("pm_dec", u.mas / u.yr), ("parallax", u.mas)):
        for column in (name, f"{name}Err"):
            if column in table.colnames:
                table[column] = np.degrees(np.asarray(table[column], float)) * 3.6e6
                table[column].unit = unit
    if "epoch" in table.colnames:
        table["epoch"].unit = u.day
    _add_plain_bands(table)
    return table


def _add_plain_bands(table: Table) -> None:
    for band in "ugrizy":
        if f"{band}_flux" in table.colnames:
            continue
        found = next(
            (f"{system}_{band}" for system in _SYSTEMS if f"{system}_{band}_flux" in table.colnames), None
        )
        if found is not None:
            for ending in ("_flux", "_fluxErr"):
                if f"{found}{ending}" in table.colnames:
                    table[f"{band}{ending}"] = table[f"{found}{ending}"]


def _flag_names(header: fits.Header) -> dict[int, str]:
    return {
        int(key.removeprefix("TFLAG")) - 1: str(value)
        for key, value in header.items()
        if key.startswith("TFLAG")
    }


def _is_of_column(key: str) -> bool:
    word = key.rstrip("0123456789")
    return word != key and word in (
        "TTYPE",
        "TFORM",
        "TUNIT",
        "TDOC",
        "TCCLS",
        "TFLAG",
        "TFDOC",
        "TDIM",
        "TNULL",
    )


def _values(values: Any) -> Any:
    if values.dtype == object:
        # Arrays of different lengths; text is an array of characters.
        is_text = any(getattr(one, "dtype", np.dtype(float)).kind in "SU" for one in values)
        return [text_of(one) for one in values] if is_text else values
    if values.dtype.kind in "SU":
        return np.array([text_of(one) for one in values], dtype=str)
    return np.asarray(values, values.dtype.newbyteorder("="))


def _unit(name: str | None) -> u.UnitBase | None:
    if not name:
        return None
    unit = u.Unit(name, parse_strict="silent")
    return None if isinstance(unit, u.UnrecognizedUnit) else unit
