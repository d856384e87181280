"""Query the mpSky service for minor planets that may be in an image.

The response to ``GET <url>?t=<MJD, TAI>&ra=&dec=&radius=<degrees>&return_elements=extended`` consists of
three consecutive Arrow IPC messages:

1. a tensor (degree + 1, 3, n): Chebyshev coefficients of the objects' heliocentric positions, au;
2. a tensor (degree + 1, 3): the same for the observer;
3. a record batch of n rows: ``name``, ``ra``, ``dec`` (degrees), ``tmin``, ``tmax`` (MJD, TAI; the
   polynomials' argument is days since ``tmin``), optionally ``Vmag``, and optionally orbital elements,
   named as in ``mpc_orbits`` if the service has that table.

(Source: the public repositories mjuric/mpsky and lsst/ap_association.)
"""

from __future__ import annotations

import logging

import numpy as np
import pyarrow as pa
from astropy import units as u
from astropy.table import Table

from .minor_planet_ids import ss_object_id

_LOG = logging.getLogger("lsst.prompt_processing.mpSkyEphemerisQuery")

POLYNOMIAL_COLUMNS = tuple(f"{body}_{axis}_poly" for body in ("obj", "obs") for axis in "xyz")
ORBIT_PREFIX = "MPCORB_"
"""Prefix of columns with orbital elements."""

_OWN_COLUMNS = frozenset({"name", "ra", "dec", "tmin", "tmax", "Vmag"})


class EphemeridesUnavailableError(Exception):
    """The service cannot be reached, or its response cannot be read."""


def no_ephemerides() -> Table:
    """Return a table without rows, with all columns that readers need."""
    return _table([], np.empty((1, 3, 0)), np.zeros((1, 3)), {})


def query_ephemerides(
    url: str, mjd_tai: float, ra: float, dec: float, radius: float, timeout_seconds: float
) -> Table:
    """Query the objects in a cone.

    Parameters
    ----------
    url
        Endpoint of the service.
    mjd_tai
        Time, days.
    ra, dec, radius
        Cone, ICRS degrees.
    timeout_seconds
        Timeout for the connection, and between bytes.

    Returns
    -------
    objects : `~astropy.table.Table`
        Columns ``designation``, ``ssObjectId``, ``ra``, ``dec`` at the requested time,
        ``tmin``, ``tmax``, ``vmag``, the six polynomials and the elements.
        Objects without a usable designation are excluded.

    Raises
    ------
    EphemeridesUnavailableError
        Raised if there is no usable response.
    """
    parameters: dict[str, str | float] = {
        "t": mjd_tai,
        "ra": ra,
        "dec": dec,
        "radius": radius,
        "return_elements": "extended",
    }
    # Imported late: a worker is ready for visits before it asks the service.
    import requests

    try:
        response = requests.get(url, params=parameters, timeout=timeout_seconds)
        response.raise_for_status()
    except requests.RequestException as exc:
        raise EphemeridesUnavailableError(f"No response from {url}: {exc}") from exc
    try:
        return read_response(response.content)
    except (pa.ArrowException, StopIteration, KeyError, ValueError, OSError) as exc:
        raise EphemeridesUnavailableError(f"Unreadable response from {url}: {exc}") from exc


def read_response(content: bytes) -> Table:
    """Convert a response to a table; see `query_ephemerides`.

    Raises
    ------
    ValueError
        Raised if its parts are inconsistent.
    """
    with pa.input_stream(memoryview(content)) as stream:
        objects = pa.ipc.read_tensor(stream).to_numpy()
        observer = pa.ipc.read_tensor(stream).to_numpy()
        with pa.ipc.open_stream(stream) as reader:
            batch = next(reader)
    columns = {name: batch.column(name).to_numpy(zero_copy_only=False) for name in batch.schema.names}
    names = [str(name) for name in columns["name"]]
    if objects.ndim != 3 or objects.shape[1:] != (3, len(names)) or observer.shape[1:] != (3,):
        raise ValueError(
            f"{len(names)} objects, but polynomials of shapes {objects.shape} and {observer.shape}."
        )
    return _table(names, objects, observer, columns)


def _table(
    names: list[str], objects: np.ndarray, observer: np.ndarray, columns: dict[str, np.ndarray]
) -> Table:
    packed = columns.get("packed_primary_provisional_designation", names)
    ids: list[int | None] = []
    for designation in packed:
        try:
            ids.append(ss_object_id(str(designation)))
        except ValueError as exc:
            _LOG.warning("A solar-system object is excluded: %s", exc)
            ids.append(None)
    kept = np.array([k for k, identifier in enumerate(ids) if identifier is not None], np.int64)
    nothing = np.full(len(names), np.nan)

    def real(name: str) -> np.ndarray:
        return np.asarray(columns.get(name, nothing), np.float64)[kept]

    table = Table(
        {
            "designation": np.array([names[k] for k in kept], dtype=str),
            "ssObjectId": np.array([ids[k] for k in kept], np.int64),
            "ra": real("ra") * u.deg,
            "dec": real("dec") * u.deg,
            "tmin": real("tmin") * u.d,
            "tmax": real("tmax") * u.d,
            "vmag": real("Vmag") * u.mag,
        }
    )
    for axis, name in enumerate("xyz"):
        table[f"obj_{name}_poly"] = np.ascontiguousarray(objects[:, axis, :].T[kept])
        table[f"obs_{name}_poly"] = np.tile(observer[:, axis], (len(kept), 1))
    for name, values in columns.items():
        if name not in _OWN_COLUMNS and values.dtype.kind in "fiub":
            table[ORBIT_PREFIX + name] = values[kept]
        elif name not in _OWN_COLUMNS and values.dtype.kind == "O":
            table[ORBIT_PREFIX + name] = np.array([_text(value) for value in values[kept]], dtype=str)
    return table


def _text(value: object) -> str:
    return "" if value is None else str(value)
