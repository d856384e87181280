"""Tables are written as the middleware writes them, and recorded under its formatter."""

from __future__ import annotations

from pathlib import Path

import astropy.units as u
import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.table import QTable, Table
from lsst.daf.butler import Butler, DatasetType
from lsst.daf.butler.formatters.parquet import ParquetFormatter, astropy_to_arrow

from prompt_processing.butler.formatters_tables import _is_ordinary, _to_arrow
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


def various_tables() -> dict[str, Table]:
    described = a_table()
    described["share"] = np.ones(4) * u.dimensionless_unscaled
    described["share"].info.format = ".3f"
    described["flag"] = described["id"] > 1
    described["flag"].description = "yes: 'true' # or no"
    described.meta.update({"list": [1, 2], "mapping": {"b": 2.5, "a": "x" * 150}})
    bare = a_table()
    bare.meta.clear()
    return {"described": described, "without rows": described[:0], "without a description": bare}


@pytest.mark.parametrize("name", various_tables())
def test_remembered_description_of_columns_is_astropys(name: str) -> None:
    table = various_tables()[name]
    assert _is_ordinary(table)
    for _ in range(2):
        ours, theirs = _to_arrow(table), astropy_to_arrow(table)
        assert ours.equals(theirs, check_metadata=True)
        assert ours.schema.metadata == theirs.schema.metadata


def test_columns_that_differ_in_unit_are_described_apart() -> None:
    first, second = a_table(), a_table()
    second["flux"].unit = u.mJy
    assert _to_arrow(first).schema.metadata != _to_arrow(second).schema.metadata
    assert _to_arrow(second).schema.metadata == astropy_to_arrow(second).schema.metadata


def test_other_kinds_of_columns_are_left_to_the_middleware() -> None:
    table = a_table()
    assert not _is_ordinary(Table(table, masked=True))
    assert not _is_ordinary(QTable(table))
    assert not _is_ordinary(Table({"object": np.array([{}, None])}))
    assert not _is_ordinary(Table())
