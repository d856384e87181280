"""Tables by amplifier, as which corrections are stored."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from astropy.table import Table

from prompt_processing.imaging.characterization.crosstalk import CrosstalkRatios
from prompt_processing.imaging.characterization.linearity import LinearityFit
from prompt_processing.imaging.characterization.photon_transfer import PhotonTransfer
from prompt_processing.imaging.isr.linearity import Polynomial

SIGNIFICANT = 5.0
"""Least significance of a crosstalk ratio that is applied."""


def photon_transfer_table(measured: Mapping[str, PhotonTransfer]) -> Table:
    """Write gains and read noise, a row for each amplifier."""
    fields = ("gain", "gain_err", "read_noise", "read_noise_err", "brighter_fatter", "full_well", "n_pairs")
    table = Table({"amplifier": list(measured), "method": [one.method for one in measured.values()]})
    for name in fields:
        table[name] = [getattr(one, name) for one in measured.values()]
    return table


def linearity_table(fits: Mapping[str, LinearityFit]) -> Table:
    """Write corrections of linearity, a row for each amplifier."""
    fields = ("quadratic", "cubic", "limit", "residual", "before", "n_levels", "reason")
    table = Table({"amplifier": list(fits)})
    for name in fields:
        table[name] = [getattr(one, name) for one in fits.values()]
    return table


def linearity_of(table: Table) -> dict[str, Polynomial]:
    """Return the corrections (ADU) of the amplifiers that were measured."""
    return {
        str(row["amplifier"]): Polynomial((float(row["quadratic"]), float(row["cubic"])))
        for row in table
        if int(row["n_levels"]) > 0
    }


def crosstalk_table(measured: CrosstalkRatios) -> Table:
    """Write the ratios of all pairs of amplifiers that were measured."""
    rows = [
        (victim, aggressor, measured.ratios[i, j], measured.errors[i, j])
        for i, victim in enumerate(measured.names)
        for j, aggressor in enumerate(measured.names)
        if np.isfinite(measured.errors[i, j])
    ]
    names = ("victim", "aggressor", "ratio", "error")
    if not rows:
        return Table(names=names, dtype=("U16", "U16", float, float))
    return Table(rows=rows, names=names)


def crosstalk_of(table: Table) -> dict[tuple[str, str], float]:
    """Return the significant ratios by victim and aggressor."""
    return {
        (str(row["victim"]), str(row["aggressor"])): float(row["ratio"])
        for row in table
        if abs(row["ratio"]) > SIGNIFICANT * row["error"]
    }
