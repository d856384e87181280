"""What has no public name is there in this version of the middleware, and is used in one place."""

from __future__ import annotations

import ast
from importlib import metadata
from pathlib import Path

import pytest
from lsst.daf.butler import Butler, DatasetType, DimensionUniverse
from lsst.daf.butler.direct_butler import DirectButler
from lsst.dax.apdb.sql import ApdbSql
from sqlalchemy.engine import Engine, create_engine

import prompt_processing
from prompt_processing.apdb import internals as apdb_internals
from prompt_processing.butler import internals as butler_internals
from prompt_processing.butler.collections import Collections
from prompt_processing.butler.local.repository import LocalRepository
from prompt_processing.butler.types import use_butler_types
from prompt_processing.domain.internals import MissingInternalError, internal

PACKAGE = Path(prompt_processing.__path__[0])
OWNERS = {"butler/internals.py", "apdb/internals.py"}
PUBLIC_ALL_THE_SAME = {"os._exit"}
"""Documented, in spite of the name; so are the error codes of confluent_kafka, `KafkaError._...`."""
PUBLIC_OF_TUPLES = {"_asdict", "_fields", "_mapping", "_replace"}
"""Documented for named tuples and rows of SQLAlchemy; the underscore keeps them apart from fields."""


@pytest.mark.parametrize(
    ("distribution", "tested"),
    [("lsst-daf-butler", butler_internals.TESTED_VERSION), ("lsst-dax-apdb", apdb_internals.TESTED_VERSION)],
)
def test_internals_are_those_of_the_installed_version(distribution: str, tested: str) -> None:
    installed = metadata.version(distribution)
    assert installed.startswith(tested), (
        f"{distribution} is {installed}, and its internals were looked at in {tested}: "
        "if the other tests of this file pass, set TESTED_VERSION to the new one"
    )


@pytest.fixture
def butler(tmp_path: Path) -> Butler:
    use_butler_types()
    local = LocalRepository.create(str(tmp_path), DimensionUniverse(), Collections("LSSTCam"))
    yield local.butler
    local.close()


def test_parts_of_the_butler_are_there(butler: Butler) -> None:
    assert isinstance(butler, DirectButler)
    memory, files = butler_internals.datastore_parts(butler)
    assert "InMemory" in type(memory).__name__
    assert "File" in type(files).__name__
    source = butler_internals.files_of(butler)
    assert source._file_transfer_source.get_file_info_for_transfer
    butler_internals.enter_datasets(butler, [])
    assert butler_internals.file_uris(butler, []) == {}


def test_local_repository_does_not_wait_for_the_disk(butler: Butler) -> None:
    with butler.clone(run="r") as view:
        for one in (butler, view):
            engine = one._registry._db._engine
            with engine.connect() as connection:
                assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 0
                assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "memory"
                # The middleware's own settings hold as before.
                assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_other_databases_wait_for_the_disk_as_before(butler: Butler, tmp_path: Path) -> None:
    assert butler.dimensions
    with create_engine(f"sqlite:///{tmp_path}/other.db").connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "delete"


def test_local_repository_is_one_that_the_middleware_opens(tmp_path: Path) -> None:
    local = LocalRepository.create(str(tmp_path), DimensionUniverse(), Collections("LSSTCam"))
    try:
        kind = DatasetType("plan", ["detector"], "StructuredDataDict", universe=local.butler.dimensions)
        local.butler.registry.registerDatasetType(kind)
        with Butler.from_config(local.folder) as opened:
            assert opened.registry.getDatasetType("plan") == kind
            assert opened.dimensions == local.butler.dimensions
            assert set(opened.collections.query("*")) == set(local.butler.collections.query("*")) != set()
            assert [type(one) for one in butler_internals.datastore_parts(opened)] == [
                type(one) for one in butler_internals.datastore_parts(local.butler)
            ]
    finally:
        local.close()


def test_failed_transaction_leaves_nothing_in_the_local_repository(butler: Butler) -> None:
    def fail() -> None:
        with butler.registry.transaction():
            butler.registry.insertDimensionData("skymap", {"name": "s", "hash": b"1"})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not butler.query_dimension_records("skymap", explain=False)


def test_engine_of_the_apdb_is_there(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/apdb.db"
    apdb = ApdbSql.from_config(ApdbSql.init_database(db_url=url))
    assert isinstance(apdb_internals.sql_engine(apdb), Engine)


def test_part_that_has_gone_is_reported_with_the_version() -> None:
    with pytest.raises(MissingInternalError, match=r"DirectButler\._gone is not in lsst-daf-butler \d"):
        internal(DirectButler, "_gone", "lsst-daf-butler")


def touched(source: str) -> list[str]:
    """Private attributes of objects that are not of the module's own classes."""
    tree = ast.parse(source)
    own = {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            own.add(node.attr)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            own.add(node.target.id)
    return [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
        and ast.unparse(node.value) not in ("self", "cls", "super()", "KafkaError")
        and node.attr not in own | PUBLIC_OF_TUPLES
        and ast.unparse(node) not in PUBLIC_ALL_THE_SAME
    ]


def test_nobody_else_uses_what_has_no_public_name() -> None:
    found = {
        name: names
        for path in sorted(PACKAGE.rglob("*.py"))
        if (name := str(path.relative_to(PACKAGE))) not in OWNERS
        and (names := touched(path.read_text(encoding="utf-8")))
    }
    assert found == {}, "move it to butler/internals.py or apdb/internals.py"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("butler._datastore.put(x)", ["butler._datastore"]),
        ("self.butler.registry._importDatasets(x)", ["self.butler.registry._importDatasets"]),
        ("class A:\n    def __init__(self): self._x = 1\n    def f(self, other): return other._x", []),
    ],
)
def test_use_is_noticed(source: str, expected: list[str]) -> None:
    assert touched(source) == expected
