"""Recognise the columns of a downloaded catalogue."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from typing import Any

import yaml

from .errors import CatalogueError

POSITION = ("ra", "dec")
MOTION = ("pm_ra", "pm_dec", "parallax")
QUANTITIES = ("id", *POSITION, *MOTION, "epoch")
"""Quantities other than bands."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Meaning of a catalogue's columns.

    Attributes
    ----------
    name, title
        Name for the command line, and for people.
    columns
        Column by quantity; see `QUANTITIES`.
    bands
        Column of the magnitude or flux, and of its error, by band.
    epoch
        Julian year of the positions where no column states it; `None` if unknown.
    epoch_unit
        ``jyear`` or ``mjd``, of the column.
    to_ab
        What to add to a band's magnitudes to make them AB magnitudes.
    snr
        Column of a signal-to-noise ratio that replaces an error, by band.
    galaxies
        Comparison of two magnitudes that recognises extended sources.
    scales
        Factor by column, of a file without a header.
    zero_is_missing
        Whether a magnitude of 0 means none.
    identified_by
        Columns that identify the layout.
    exact_case
        Whether the case of the columns matters.
    row_of
        Names of the columns of a file without a header.
    """

    name: str
    title: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    bands: Mapping[str, Sequence[str]] = field(default_factory=dict)
    epoch: float | None = None
    epoch_unit: str = "jyear"
    to_ab: Mapping[str, float] = field(default_factory=dict)
    snr: Mapping[str, str] = field(default_factory=dict)
    galaxies: Mapping[str, Any] = field(default_factory=dict)
    scales: Mapping[str, float] = field(default_factory=dict)
    zero_is_missing: bool = False
    identified_by: Sequence[str] = ()
    exact_case: bool = False
    row_of: Sequence[str] = ()

    def found_in(self, names: Iterable[str]) -> Layout:
        """Return the layout with the columns that a table has, spelled as in the table."""
        spelled = {name if self.exact_case else name.lower(): name for name in names}

        def find(name: str) -> str | None:
            return spelled.get(name if self.exact_case else name.lower())

        columns = {quantity: own for quantity, name in self.columns.items() if (own := find(name))}
        bands: dict[str, list[str]] = {}
        for band, (magnitude, *error) in self.bands.items():
            if (own := find(magnitude)) is not None:
                bands[band] = [own, *(other for one in error if (other := find(one)) is not None)]
        snr = {band: own for band, name in self.snr.items() if band in bands and (own := find(name))}
        galaxies = dict(self.galaxies)
        for role in ("psf", "total"):
            own = find(str(galaxies[role])) if role in galaxies else None
            if own is None:
                galaxies = {}
            else:
                galaxies[role] = own
        return replace(self, columns=columns, bands=bands, snr=snr, galaxies=galaxies)

    def with_columns(self, chosen: Mapping[str, str], names: Sequence[str]) -> Layout:
        """Return the layout with some columns chosen by hand.

        Parameters
        ----------
        chosen
            Column by quantity, by band, or by band and ``_err``.
        names
            Columns of the table.

        Raises
        ------
        CatalogueError
            Raised if the table lacks a column.
        """
        columns, bands = dict(self.columns), {band: list(of) for band, of in self.bands.items()}
        for what, name in chosen.items():
            if name not in names:
                raise CatalogueError(
                    f"The table has no column {name!r} for {what}; it has {', '.join(names)}."
                )
            if what in QUANTITIES:
                columns[what] = name
            elif not what.endswith("_err"):
                bands[what] = [name]
        for what, name in chosen.items():
            if what.endswith("_err") and what not in QUANTITIES:
                band = what.removesuffix("_err")
                if band not in bands:
                    raise CatalogueError(f"{what} needs the column of {band}, for example {band}={band}mag.")
                bands[band] = [bands[band][0], name]
        return replace(self, columns=columns, bands=bands)


_USUAL_COLUMNS = {
    "id": ("id", "source_id", "objid", "obj_id", "star_id", "number"),
    "ra": ("ra", "raj2000", "ra_icrs", "_raj2000", "_ra", "ra_j2000", "ra_deg", "radeg", "alpha_j2000"),
    "dec": (
        *("dec", "dej2000", "de_icrs", "_dej2000", "_de", "decj2000", "dec_j2000", "dec_deg", "decdeg"),
        *("dedeg", "delta_j2000", "dec_icrs"),
    ),
    "pm_ra": ("pm_ra", "pmra"),
    "pm_dec": ("pm_dec", "pmdec", "pmde"),
    "parallax": ("parallax", "plx"),
}
"""Usual names of columns, in any case, by quantity."""

_BAND_COLUMNS = (
    (r"(.+)_mag", ("{}_magErr", "{}_mag_err", "{}_err", "e_{}_mag", "e_{}mag")),
    (r"(.+)_flux", ("{}_fluxErr", "{}_flux_err")),
    (r"([A-Za-z])'?mag", ("e_{}mag", "e_{}'mag", "{}magErr", "{}mag_err", "{}err")),
    (r"(?:mag|MAG)_([A-Za-z])", ("magerr_{}", "MAGERR_{}", "mag_err_{}", "e_mag_{}")),
    (r"([ugrizyUBVRI])", ("{}_err", "e_{}", "d{}", "{}err")),
)
"""Forms of names whose group is a band, and names of the error."""


@functools.cache
def layouts() -> Mapping[str, Layout]:
    """Return the known layouts, by name."""
    text = (resources.files(__package__) / "layouts.yaml").read_text(encoding="utf-8")
    return {name: Layout(name=name, **fields) for name, fields in yaml.safe_load(text).items()}


def recognised(names: Sequence[str]) -> Layout:
    """Return the layout of a table by the names of its columns; ``own`` if no survey has them."""
    best: Layout | None = None
    for layout in layouts().values():
        there = set(names) if layout.exact_case else {name.lower() for name in names}
        wanted = [name if layout.exact_case else name.lower() for name in layout.identified_by]
        matches = bool(wanted) and there.issuperset(wanted)
        if matches and (best is None or len(wanted) > len(best.identified_by)):
            best = layout
    return (best or _own_with_bands(names)).found_in(names)


def _own_with_bands(names: Sequence[str]) -> Layout:
    """Return the layout of a table that no survey has, by the names that people usually give columns."""
    bands: dict[str, list[str]] = {}
    for form, errors in _BAND_COLUMNS:
        for name in names:
            match = re.fullmatch(form, name)
            if match is not None:
                bands.setdefault(match[1], [name, *(one.format(match[1]) for one in errors)])
    bands = {band: [of[0], *[one for one in of[1:] if one in names][:1]] for band, of in bands.items()}
    spelled = {name.lower(): name for name in names}
    columns = {
        quantity: next((spelled[one] for one in usual if one in spelled), quantity)
        for quantity, usual in _USUAL_COLUMNS.items()
    }
    own = layouts()["own"]
    return replace(own, bands=bands, columns={**own.columns, **columns})
