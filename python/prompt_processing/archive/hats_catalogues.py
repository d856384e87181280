"""Make HATS catalogues of the archived tables, which LSDB opens."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from .errors import ArchiveError
from .light_curves import write_cells
from .manifest import NightManifest
from .tables import table_files

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["CATALOGUES", "OBJECTS", "SOURCES", "build_catalogues", "is_current"]

OBJECTS = "dia_object_lc"
"""Catalogue of DiaObjects with their light curves."""
SOURCES = "dia_source"
"""Catalogue of all DiaSources, those of the solar system included."""
CATALOGUES = (OBJECTS, SOURCES)

_MARGIN_ARCSEC = 10.0
_INPUTS = "inputs.json"
_FINEST_ORDER = 7
"""Smallest pixels, of half a degree: hats-import counts objects in arrays of the whole sky at this order."""
_ROWS_OF_PIXEL = {OBJECTS: 200_000, SOURCES: 1_000_000}


def is_current(root: Path, nights: Sequence[NightManifest]) -> bool:
    """Return whether the catalogues were made of exactly these nights' files."""
    try:
        made_of = json.loads((root / "hats" / _INPUTS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    return bool(made_of["inputs"] == _inputs(nights))


def build_catalogues(root: Path, nights: Sequence[NightManifest], dask: str = "") -> dict[str, int]:
    """Make both catalogues of all archived nights, and put them in the place of older ones.

    Older ones stay until the new ones are complete.

    Parameters
    ----------
    root
        Folder of the archive; the catalogues are in ``hats``.
    nights
        Manifests of all nights.
    dask
        Address of a Dask scheduler whose workers see the archive; by default a thread of this process.

    Returns
    -------
    rows
        Number of rows by catalogue.

    Raises
    ------
    ArchiveError
        Raised if a catalogue has not the rows that its input has, or no scheduler answers.
    """
    objects, sources, forced = (
        table_files(root, nights, table) for table in ("DiaObject", "DiaSource", "DiaForcedSource")
    )
    if not sources:
        raise ArchiveError(f"{root} has no DiaSources yet: no HATS catalogue can be made.")
    # Beside the archive's own files, so that the last step is a rename.
    with tempfile.TemporaryDirectory(dir=root, prefix=".hats-") as name, _client(dask) as client:
        scratch = Path(name)
        (scratch / "cells").mkdir()
        cells = write_cells(scratch / "cells", objects, sources, forced)
        new = scratch / "hats"
        rows = {}
        new.mkdir()
        for catalogue, inputs in ((OBJECTS, cells), (SOURCES, sources)):
            if not inputs:
                # All sources so far are of the solar system, and belong to no DiaObject.
                continue
            rows[catalogue] = sum(pq.ParquetFile(path).metadata.num_rows for path in inputs)
            _import(catalogue, inputs, new, scratch, client)
            _check(new / catalogue, rows[catalogue])
        text = json.dumps({"inputs": _inputs(nights), "rows": rows}, indent=1)
        (new / _INPUTS).write_text(text + "\n", encoding="utf-8")
        _replace(root / "hats", new, scratch)
    return rows


def _import(catalogue: str, inputs: Sequence[Path], output: Path, scratch: Path, client: Client) -> None:
    from hats_import import CollectionArguments
    from hats_import.pipeline import pipeline_with_client

    arguments = (
        CollectionArguments(
            output_artifact_name=catalogue,
            output_path=output,
            tmp_dir=scratch,
            progress_bar=False,
        )
        .catalog(
            output_artifact_name=_catalogue(output / catalogue).name,
            input_file_list=list(inputs),
            file_reader="parquet",
            catalog_type="object" if catalogue == OBJECTS else "source",
            ra_column="ra",
            dec_column="dec",
            highest_healpix_order=_FINEST_ORDER,
            pixel_threshold=_ROWS_OF_PIXEL[catalogue],
        )
        .add_margin(margin_threshold=_MARGIN_ARCSEC, is_default=True)
    )
    with warnings.catch_warnings():
        # It warns of small catalogues, of an empty margin and of its own deprecated calls.
        warnings.simplefilter("ignore")
        # It waits for tasks of the client that is current.
        with client.as_current():
            pipeline_with_client(arguments, client)


def _catalogue(collection: Path) -> Path:
    return collection / f"{collection.name}_catalog"


def _check(collection: Path, expected: int) -> None:
    import hats

    found = int(hats.read_hats(_catalogue(collection)).catalog_info.total_rows)
    if found != expected:
        raise ArchiveError(f"The catalogue {collection.name} has {found} rows; its tables have {expected}.")


def _inputs(nights: Sequence[NightManifest]) -> list[list[str]]:
    tables = ("DiaObject", "DiaSource", "DiaForcedSource")
    return [[file.file, file.sha256] for night in nights for file in night.files if file.table in tables]


def _replace(target: Path, new: Path, scratch: Path) -> None:
    old = scratch / "old"
    if target.exists():
        target.rename(old)
    new.rename(target)
    shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def _client(address: str) -> Iterator[Client]:
    from distributed import Client, LocalCluster

    # Dask reports each connection at the level INFO. Its import sets the level.
    logging.getLogger("distributed").setLevel(logging.ERROR)
    with contextlib.ExitStack() as stack:
        if address:
            try:
                client = Client(address, timeout="15s", set_as_default=False)
            except (OSError, TimeoutError, ValueError) as error:
                raise ArchiveError(f"No Dask scheduler answers at {address}: {error}") from error
        else:
            here = "127.0.0.1:0"
            cluster = LocalCluster(
                n_workers=1,
                threads_per_worker=1,
                processes=False,
                dashboard_address=here,
                worker_dashboard_address=here,
                silence_logs=logging.ERROR,
            )
            stack.enter_context(cluster)
            client = Client(cluster, set_as_default=False)
        yield stack.enter_context(client)
