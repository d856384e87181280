"""Sums over a night by cell of the sky and band, and what follows from sums."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from astropy import units
from astropy_healpix import HEALPix
from numpy.typing import ArrayLike, NDArray

from prompt_processing.instruments import Camera, band_of_filter, load_camera

__all__ = [
    "COLUMNS",
    "DERIVED",
    "cells_of",
    "derived",
    "detector_centres",
    "merged",
    "night_statistics",
    "typed",
]

_SUMS = ("visits", "images", "failed", "n_seeing", "seeing", "n_depth", "depth", "depth_weight",
         "sources", "doubtful", "negative")  # fmt: skip
_LEAST = ("best_seeing",)
_LARGEST = ("best_depth",)
_KEYS = ("cell", "band")
COLUMNS = (*_KEYS, *_SUMS, *_LEAST, *_LARGEST)
"""Columns of the statistics.

Visits with an image in the cell; processed and other visit-detectors; number and sum of seeings (arcsec) and
of 5-sigma depths (mag); sum of ``10**(0.8 * depth)``, which is proportional to that of inverse variances;
DiaSources, and how many of them are doubtful and negative; best seeing and depth of an image.
"""
DERIVED = {
    "visits": "visits",
    "images": "images",
    "failed_rate": "images that failed",
    "mean_seeing": "mean seeing (arcsec)",
    "mean_depth": "mean depth of an image (mag)",
    "total_depth": "depth of all images together (mag)",
    "sources_per_image": "DiaSources of an image",
    "spurious_rate": "spurious rate",
}
"""Columns that `derived` returns, with labels."""

_RELIABLE = 0.5


def night_statistics(
    instrument: str, detectors: pd.DataFrame, sources: pd.DataFrame, order: int
) -> pd.DataFrame:
    """Return the statistics of a night.

    Images count in the cell of their centre, DiaSources in their own.

    Parameters
    ----------
    instrument
        Camera.
    detectors
        Visit-detectors: ``visit``, ``group``, ``detector``, ``filter``, ``ra``, ``dec`` and ``rotation`` of
        the boresight (degrees), ``state``, ``seeing`` (arcsec), ``depth`` (mag).
    sources
        DiaSources with the APDB's columns; may be empty.
    order
        Order of the HEALPix cells, nested.

    Returns
    -------
    table
        `COLUMNS`, one row for each cell and band that was observed.
    """
    parts = []
    placed = detectors.dropna(subset=["ra", "dec"]).copy()
    placed["band"] = [
        band_of_filter(instrument, one) or one for one in placed["filter"].fillna("").astype(str)
    ]
    placed = placed[placed["band"] != ""]
    if len(placed):
        ra, dec = detector_centres(
            load_camera(instrument),
            placed["detector"].to_numpy(int),
            placed["ra"].to_numpy(float),
            placed["dec"].to_numpy(float),
            placed["rotation"].fillna(0.0).to_numpy(float),
        )
        placed["cell"] = cells_of(ra, dec, order)
        parts += [_of_images(placed), _of_visits(placed[placed["state"] == "done"])]
    if len(sources):
        parts.append(_of_sources(sources, order))
    return merged(parts)


def _of_images(placed: pd.DataFrame) -> pd.DataFrame:
    done = placed["state"] == "done"
    seeing = placed["seeing"].astype(float).where(done)
    depth = placed["depth"].astype(float).where(done)
    return placed.assign(
        images=done.astype(int),
        failed=(~done).astype(int),
        n_seeing=seeing.notna().astype(int),
        seeing=seeing.fillna(0.0),
        best_seeing=seeing,
        n_depth=depth.notna().astype(int),
        depth=depth.fillna(0.0),
        best_depth=depth,
        depth_weight=(10.0 ** (0.8 * depth)).fillna(0.0),
    )


def _of_visits(done: pd.DataFrame) -> pd.DataFrame:
    # A visit belongs to one night, so that the numbers of several nights add up.
    return done.drop_duplicates(["cell", "band", "group"])[["cell", "band"]].assign(visits=1)


def _of_sources(sources: pd.DataFrame, order: int) -> pd.DataFrame:
    reliability = sources["reliability"].astype(float)
    return pd.DataFrame(
        {
            "cell": cells_of(sources["ra"].to_numpy(float), sources["dec"].to_numpy(float), order),
            "band": sources["band"].astype(str).to_numpy(),
            "sources": 1,
            "doubtful": (reliability < _RELIABLE).to_numpy(int),
            "negative": sources["isNegative"].astype("boolean").fillna(False).to_numpy(int),
        }
    )


def merged(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Add up statistics; the result does not depend on how they were grouped before.

    Parameters
    ----------
    tables
        Tables with some of `COLUMNS`; those that are absent count as none.
    """
    parts = [one.reindex(columns=list(COLUMNS)) for one in tables if len(one)]
    if not parts:
        return typed(pd.DataFrame(columns=list(COLUMNS)))
    every = pd.concat(parts, ignore_index=True)
    how = dict.fromkeys(_SUMS, "sum") | dict.fromkeys(_LEAST, "min") | dict.fromkeys(_LARGEST, "max")
    return typed(every.groupby(list(_KEYS), as_index=False, sort=True).agg(how)[list(COLUMNS)])


def typed(table: pd.DataFrame) -> pd.DataFrame:
    """Return statistics with the same types whatever the rows are."""
    real = {"seeing", "depth", "depth_weight", *_LEAST, *_LARGEST}
    types = {name: "float64" if name in real else "int64" for name in COLUMNS if name != "band"}
    return table.astype({**types, "band": "object"})


def derived(table: pd.DataFrame) -> pd.DataFrame:
    """Return ``cell``, ``band`` and the columns of `DERIVED`; NaN where nothing was measured."""
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = table["depth_weight"].to_numpy(float)
        found = {
            "visits": table["visits"],
            "images": table["images"],
            "failed_rate": table["failed"] / (table["images"] + table["failed"]).where(lambda one: one > 0),
            "mean_seeing": table["seeing"] / table["n_seeing"].where(table["n_seeing"] > 0),
            "mean_depth": table["depth"] / table["n_depth"].where(table["n_depth"] > 0),
            "total_depth": pd.Series(np.where(weight > 0.0, 1.25 * np.log10(weight), np.nan), table.index),
            "sources_per_image": table["sources"] / table["images"].where(table["images"] > 0),
            "spurious_rate": table["doubtful"] / table["sources"].where(table["sources"] > 0),
        }
    return table[list(_KEYS)].assign(**found)


def cells_of(ra: ArrayLike, dec: ArrayLike, order: int) -> NDArray[np.int64]:
    """Return the nested HEALPix cells of positions in degrees."""
    grid = HEALPix(nside=2**order, order="nested")
    cells = grid.lonlat_to_healpix(np.asarray(ra) * units.deg, np.asarray(dec) * units.deg)
    return np.asarray(cells, dtype=np.int64)


def detector_centres(
    camera: Camera,
    detectors: NDArray[np.int_],
    ra: NDArray[np.float64],
    dec: NDArray[np.float64],
    rotation: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the positions of detectors' centres without the camera's distortion, degrees.

    Parameters
    ----------
    camera
        Camera.
    detectors
        Ids; one that the camera does not have counts as at the boresight.
    ra, dec, rotation
        Boresight and angle of focal-plane +Y, east of north, degrees.
    """
    places = {one.id: (one.x_mm, one.y_mm) for one in camera.detectors.values()}
    millimetres = np.array([places.get(int(one), (0.0, 0.0)) for one in detectors]).reshape(-1, 2)
    x, y = np.radians(camera.pixel_scale_arcsec / 3600.0 / camera.pixel_mm * millimetres).T
    turn, east = np.radians(rotation), 1.0 if camera.parity_flipped_x else -1.0
    # Inverse of the gnomonic projection about the boresight.
    xi = east * np.cos(turn) * x + np.sin(turn) * y
    eta = -east * np.sin(turn) * x + np.cos(turn) * y
    latitude = np.radians(dec)
    below = np.cos(latitude) - eta * np.sin(latitude)
    longitude = np.radians(ra) + np.arctan2(xi, below)
    found = np.arctan2(np.sin(latitude) + eta * np.cos(latitude), np.hypot(xi, below))
    return np.degrees(longitude) % 360.0, np.degrees(found)
