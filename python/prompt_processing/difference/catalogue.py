"""The catalogue of changed sources, in a form for users outside the pipeline."""

from __future__ import annotations

from pathlib import Path

import astropy.units as u
import numpy as np
from astropy.table import Table

from .errors import UnusableOutputError
from .outputs import replacing

_SKY_COLUMNS = (
    "ra",
    "dec",
    "raErr",
    "decErr",
    "ra_dec_Cov",
    "trailRa",
    "trailDec",
    "trailRaErr",
    "trailDecErr",
)
_SKY_ANGLES = ("dipoleAngle", "trailAngle", "trailAngleErr")
_INTERNAL = ("pixelFlags", "footprintId", "psfLnL", "misfit", "forced_PsfFlux_flag_edge", "centroid_flag")
_FIRST = (
    "diaSourceId", "ra", "dec", "x", "y", "snr", "psfFlux", "psfFluxErr", "reliability", "reason",
    "isNegative", "isDipole",
)  # fmt: skip
_UNITS = {
    **dict.fromkeys(("ra", "dec", "raErr", "decErr", "dipoleAngle", "trailAngle", "trailAngleErr"), u.deg),
    **dict.fromkeys(("trailRa", "trailDec", "trailRaErr", "trailDecErr"), u.deg),
    **dict.fromkeys(("x", "y", "xErr", "yErr"), u.pix),
}


def candidates_table(sources: Table, on_sky: bool) -> Table:
    """Arrange measured sources for a catalogue.

    Parameters
    ----------
    sources : `~astropy.table.Table`
        Sources from `~prompt_processing.imaging.measurement.detect_and_measure.detect_and_measure`.
    on_sky : `bool`
        Whether the image has a WCS. Without one there are no sky coordinates, and lengths are in pixels.

    Returns
    -------
    table : `~astropy.table.Table`
        ``x, y`` (pixels, the first one's centre is 0), ``ra, dec`` (degrees), ``snr``, fluxes (unit of the
        science image), moments (``ixx`` ..., arcsec squared), dipole and trail, flags.
    """
    left_out = set(_INTERNAL) | (set() if on_sky else {*_SKY_COLUMNS, *_SKY_ANGLES})
    names = [name for name in _FIRST if name in sources.colnames and name not in left_out]
    names += [name for name in sources.colnames if name not in left_out and name not in names]
    table = sources[names]
    length = u.arcsec if on_sky else u.pix
    for name in table.colnames:
        if name in _UNITS:
            table[name].unit = _UNITS[name]
        elif name in ("dipoleLength", "trailLength", "trailLengthErr"):
            table[name].unit = length
        elif name in ("ixx", "iyy", "ixy", "ixxPSF", "iyyPSF", "ixyPSF"):
            table[name].unit = length**2
    table.meta["comment"] = "x, y: the centre of the first pixel is 0, 0"
    return table


def write_catalogue(path: str | Path, sources: Table) -> None:
    """Write a catalogue as Parquet or as a FITS table, depending on the file's suffix.

    Raises
    ------
    UnusableOutputError
        Raised if the suffix is neither, or the file cannot be written.
    """
    ending = Path(path).suffix.lower()
    if ending in (".parquet", ".parq", ".pq"):
        with replacing(path) as temporary:
            sources.write(temporary, format="parquet", overwrite=True)
    elif ending in (".fits", ".fit"):
        plain = sources.copy()
        for name in plain.colnames:
            if plain[name].dtype.kind == "O":
                plain[name] = np.asarray(plain[name], str)
        with replacing(path) as temporary:
            plain.write(temporary, format="fits", overwrite=True)
    else:
        raise UnusableOutputError(f"{path}: a catalogue ends in .parquet or .fits.")
