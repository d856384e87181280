"""Write a selection of sources as a file."""

from __future__ import annotations

import io
from typing import Literal

import pandas as pd
from astropy.table import Table

__all__ = ["FORMATS", "Format", "export"]

Format = Literal["CSV", "Parquet", "VOTable"]
FORMATS: dict[Format, str] = {"CSV": "csv", "Parquet": "parquet", "VOTable": "vot"}
"""Formats and the endings of their files."""


def export(frame: pd.DataFrame, form: Format) -> io.BytesIO:
    """Return a table as a file.

    Parameters
    ----------
    frame
        Table; columns without values are left out of a VOTable, which cannot have them.
    form
        Format.
    """
    file = io.BytesIO()
    # Columns get types again: integers with nulls stay integers.
    typed = frame.convert_dtypes()
    if form == "CSV":
        file.write(typed.to_csv(index=False).encode())
    elif form == "Parquet":
        typed.to_parquet(file, index=False)
    else:
        filled = typed.dropna(axis="columns", how="all")
        Table.from_pandas(filled).write(file, format="votable")
    file.seek(0)
    return file
