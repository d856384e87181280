"""Tables are written as the middleware writes them, and recorded under its formatter."""

from __future__ import annotations

from pathlib import Path

import astropy.units as u
import numpy as np
import pyarrow.parquet as pq
from astropy.table import Table
from lsst.daf.butler import Butler, DatasetType
from lsst.daf.butler.formatters.parquet import ParquetFormatter, astropy_to_arrow

from prompt_processing.butler.formatters_tables import _TypedOnce
from prompt_processing.butler.types import use_butler_types


def a_table() -> Table:
    table = Table({"id": np.arange(4), "name": np.array(["a", "bb", "c", ""]), "shape": np.ones((4, 2))})
    table["flux"] = np.array([1.0, 2.0, 3.0, 4.0], np.float32) * u.nJy
    table["flux"].description = "flux in the visit"
    table.meta["made"] = "here"
    return table


def test_file_is_that_of_the_middleware_and_recorded_as_its_own(tmp_path: Path) -> None:
    use_butler_types()
    Butler.makeRepo(str(tmp_path / "repo"))
    with Butler.from_config(str(tmp_path / "repo"), writeable=True, run="r") as butler:
        butler.registry.registerDatasetType(
            DatasetType("stars", (), "ArrowAstropy", universe=butler.dimensions)
        )
        ref = butler.put(a_table(), "stars")
        (exported,) = butler._datastore.export([ref])
        path = butler.getURI(ref).ospath
        back = butler.get(ref)
    name = exported.formatter if isinstance(exported.formatter, str) else exported.formatter.name()
    assert name == ParquetFormatter.name() == "lsst.daf.butler.formatters.parquet.ParquetFormatter"
    pq.write_table(astropy_to_arrow(a_table()), tmp_path / "theirs.parq")
    found, expected = pq.read_table(path), pq.read_table(tmp_path / "theirs.parq")
    assert found.equals(expected)
    # The Butler adds its provenance to the description of the whole table.
    assert [one.metadata for one in found.schema] == [one.metadata for one in expected.schema]
    assert set(found.schema.metadata) == set(expected.schema.metadata)
    assert back["flux"].unit == u.nJy


def test_type_of_the_rows_is_found_once() -> None:
    table = _TypedOnce(a_table(), copy=False)
    assert table.dtype is table.dtype
    assert table.dtype == a_table().dtype
