"""Read a downloaded table in any of the usual formats."""

from __future__ import annotations

import csv
import gzip
import io
import warnings
from pathlib import Path

import numpy as np
from astropy.io import ascii as ascii_tables
from astropy.table import Table
from astropy.utils.exceptions import AstropyWarning

from .errors import CatalogueError
from .layouts import layouts

FORMATS = {
    ".csv": "csv",
    ".tsv": "tab",
    ".txt": "text",
    ".dat": "text",
    ".rc2": "text",
    ".ecsv": "ecsv",
    ".vot": "votable",
    ".votable": "votable",
    ".xml": "votable",
    ".fits": "fits",
    ".fit": "fits",
    ".parquet": "parquet",
    ".parq": "parquet",
    ".pq": "parquet",
}
"""Format by suffix; each but Parquet may be followed by ``.gz``."""

_FILES_OF_INTEGERS = "atlas-refcat2-files"


def read_table(path: Path) -> Table:
    """Read a table.

    Parameters
    ----------
    path
        File with one of the suffixes in `FORMATS`.

    Raises
    ------
    CatalogueError
        Raised if the file is missing, unreadable, of an unknown format or empty.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    compressed = bool(suffixes) and suffixes[-1] == ".gz"
    suffix = suffixes[-2] if compressed and len(suffixes) > 1 else suffixes[-1] if suffixes else ""
    form = FORMATS.get(suffix)
    if form is None:
        raise CatalogueError(f"{path}: the format is unknown; known suffixes are {', '.join(FORMATS)}.")
    if not path.is_file():
        raise CatalogueError(f"{path} is not a file.")
    try:
        with warnings.catch_warnings():
            # Units that astropy does not know are reported where they matter.
            warnings.simplefilter("ignore", AstropyWarning)
            if form in ("csv", "tab", "text", "ecsv"):
                raw = path.read_bytes()
                table = _from_text((gzip.decompress(raw) if compressed else raw).decode("utf-8-sig"), form)
            elif form == "fits":
                table = _from_fits(path)
            else:
                table = Table.read(path, format=form)
    except CatalogueError as error:
        raise CatalogueError(f"{path}: {error}") from error
    except Exception as error:
        # Each of the formats has errors of its own.
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CatalogueError(f"{path} cannot be read as {form}: {line}") from error
    if len(table) == 0 or not table.colnames:
        raise CatalogueError(f"{path} has no rows.")
    return table


def _from_fits(path: Path) -> Table:
    from astropy.io import fits

    with fits.open(path) as hdus:
        numbers = [n for n, hdu in enumerate(hdus) if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)]
    if len(numbers) != 1:
        raise CatalogueError(f"{len(numbers)} tables, not one.")
    table = Table.read(path, format="fits", hdu=numbers[0])
    for name in table.colnames:
        if table[name].dtype.kind == "S":
            table[name] = np.char.strip(table[name].astype(str))
    return table


def _from_text(text: str, form: str) -> Table:
    first = text.split("\n", 1)[0]
    if form == "ecsv" or first.startswith("# %ECSV"):
        # The archive's bulk files are ECSV, whatever their suffix.
        return Table.read(text, format="ascii.ecsv")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        raise CatalogueError("The table has no rows.")
    delimiter = {"csv": ",", "tab": "\t"}.get(form) or _delimiter_of(lines[0])
    if integers := _columns_of_integers(lines[0], delimiter):
        data = np.loadtxt(io.StringIO("\n".join(lines)), delimiter=delimiter.strip() or None, ndmin=2)
        scales = layouts()[_FILES_OF_INTEGERS].scales
        return Table({name: data[:, column] * scales.get(name, 1.0) for column, name in enumerate(integers)})
    if form == "csv" and "\t" in lines[0] and "," not in lines[0]:
        delimiter = "\t"
    units: dict[str, str] = {}
    ruler = next((n for n, line in enumerate(lines[:4]) if set(line) <= set("-\t ,;|") and "-" in line), None)
    if ruler is not None and ruler > 0:
        # VizieR writes names, units and a line of dashes.
        names = _split(lines[0], delimiter)
        if ruler == 2:
            units = dict(zip(names, _split(lines[1], delimiter), strict=False))
        lines = [lines[0], *lines[ruler + 1 :]]
    # The formats "csv" and "tab" keep empty values at the ends of rows.
    table = ascii_tables.read(
        lines,
        format={",": "csv", "\t": "tab"}.get(delimiter, "basic"),
        delimiter=delimiter,
        guess=False,
        fill_values=[("", "0"), ("null", "0")],
    )
    for name, unit in units.items():
        # Sexagesimal columns have units such as "h:m:s", which the text itself shows.
        if name in table.colnames and unit and '"' not in unit and table[name].dtype.kind in "fi":
            table[name].unit = unit.replace("'", "")
    return table


def _delimiter_of(line: str) -> str:
    for delimiter in ("\t", ",", ";", "|"):
        if delimiter in line:
            return delimiter
    return " "


def _split(line: str, delimiter: str) -> list[str]:
    return [word.strip() for word in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))]


def _columns_of_integers(line: str, delimiter: str) -> tuple[str, ...]:
    """Return the names of the columns of ATLAS-Refcat2's own files, which have no header."""
    names = tuple(layouts()[_FILES_OF_INTEGERS].row_of)
    words = [word for word in _split(line, delimiter) if word]
    integers = [word for word in words if word.lstrip("+-").isdigit()]
    return names if len(words) == len(names) and len(integers) >= 0.8 * len(words) else ()
