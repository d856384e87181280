"""Records in memory behave as those of the middleware's database."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lsst.daf.butler import Butler, DatasetRef, DatasetType, QuantumBackedButler
from lsst.daf.butler.datastore import DatastoreTransaction

from prompt_processing.batch.records import RecordTable, butler_without_database

KEY = ("dataset_id", "component")
FIRST, SECOND, THIRD = (uuid.UUID(int=number) for number in (1, 2, 3))


def row(dataset: uuid.UUID, path: str, component: str = "") -> dict[str, Any]:
    return {"dataset_id": dataset, "component": component, "path": path}


@pytest.fixture
def table() -> RecordTable:
    made = RecordTable("files", KEY)
    made.insert(row(FIRST, "a/1.fits"), row(SECOND, "a/2.zip#x"), row(SECOND, "a/2.zip#y", "mask"))
    return made


def paths(table: RecordTable, **where: Any) -> list[str]:
    return sorted(found["path"] for found in table.fetch(**where))


def test_rows_are_found_by_dataset_and_path(table: RecordTable) -> None:
    assert paths(table) == ["a/1.fits", "a/2.zip#x", "a/2.zip#y"]
    assert paths(table, dataset_id=FIRST) == ["a/1.fits"]
    assert paths(table, dataset_id=[SECOND, THIRD]) == ["a/2.zip#x", "a/2.zip#y"]
    assert paths(table, path="a/1.fits") == ["a/1.fits"]
    assert paths(table, path="a/2.zip#%") == ["a/2.zip#x", "a/2.zip#y"]
    assert paths(table, dataset_id=SECOND, component="mask") == ["a/2.zip#y"]
    assert paths(table, dataset_id=THIRD) == []
    assert [len(batch) for batch in table.fetch_batches(dataset_id={FIRST, SECOND})] == [3]


def test_a_row_is_inserted_once(table: RecordTable) -> None:
    with pytest.raises(ValueError, match="files has a row of dataset"):
        table.insert(row(THIRD, "c"), row(FIRST, "other"))
    table.ensure(row(FIRST, "other"), row(THIRD, "c"))
    assert paths(table, dataset_id=[FIRST, THIRD]) == ["a/1.fits", "c"]
    table.replace(row(FIRST, "other"))
    assert paths(table, dataset_id=FIRST) == ["other"]


def test_rows_are_deleted_and_insertions_undone(table: RecordTable) -> None:
    table.delete(["dataset_id"], {"dataset_id": SECOND}, {"dataset_id": THIRD})
    assert paths(table) == ["a/1.fits"]
    transaction = DatastoreTransaction()
    table.insert(row(THIRD, "c"), transaction=transaction)
    transaction.rollback()
    assert paths(table) == ["a/1.fits"]


def from_middleware(repo: str, butler: Butler, refs: list[DatasetRef]) -> QuantumBackedButler:
    ids = [ref.id for ref in refs]
    return QuantumBackedButler.from_predicted(repo, ids, ids, butler.dimensions, {})


def ours(repo: str, butler: Butler, refs: list[DatasetRef]) -> QuantumBackedButler:
    ids = [ref.id for ref in refs]
    return butler_without_database(repo, butler.dimensions, inputs=ids, outputs=ids)


@pytest.mark.parametrize("make", [from_middleware, ours])
def test_datasets_are_written_read_and_removed(
    make: Callable[[str, Butler, list[DatasetRef]], QuantumBackedButler], tmp_path: Path
) -> None:
    repo = str(tmp_path / "repo")
    Butler.makeRepo(repo)
    with Butler.from_config(repo, writeable=True, run="out") as butler:
        butler.registry.insertDimensionData("instrument", {"name": "Cam", "class_name": "x.Y"})
        numbers = DatasetType("numbers", ("instrument",), "StructuredDataDict", universe=butler.dimensions)
        ref = DatasetRef(numbers, butler.registry.expandDataId(instrument="Cam"), run="out")
        with make(repo, butler, [ref]) as files:
            assert not files.stored(ref)
            files.put({"n": 1}, ref)
            assert files.stored(ref)
            assert files.get(ref) == {"n": 1}
            (path,) = (tmp_path / "repo" / "out").rglob("*.yaml")
            files.pruneDatasets([ref], disassociate=False, unstore=True)
            assert not path.exists()
            assert not files.stored(ref)
            # After its removal a dataset is written again, as after the death of a process.
            files.put({"n": 2}, ref)
            assert files.get(ref) == {"n": 2}
