"""An APDB is opened once, however often it is checked and asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from lsst.dax.apdb import Apdb, ApdbTables
from lsst.dax.apdb.sql import ApdbSql

from prompt_processing.apdb.config_files import read_config
from prompt_processing.apdb.connection import ApdbConnection
from prompt_processing.apdb.internals import compiled_yaml, sql_engine
from prompt_processing.apdb.version import check_apdb_version


@pytest.fixture
def config(tmp_path: Path) -> str:
    uri = str(tmp_path / "apdb.yaml")
    ApdbSql.init_database(db_url=f"sqlite:///{tmp_path}/apdb.db").save(uri)
    return uri


@pytest.fixture
def openings(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    opened: list[object] = []
    open_it = Apdb.from_config

    def counted(config: object) -> Apdb:
        opened.append(config)
        return open_it(config)

    monkeypatch.setattr(Apdb, "from_config", counted)
    return opened


def test_apdb_of_the_check_is_kept_for_the_visits(config: str, openings: list[object]) -> None:
    apdb = check_apdb_version(config)
    assert apdb is not None
    connection = ApdbConnection()
    connection.keep(config, apdb)
    assert connection.get(config) is connection.get(config) is apdb
    assert len(openings) == 1
    # As one that a visit has opened.
    assert (
        sql_engine(apdb).get_execution_options().keys()
        == sql_engine(ApdbConnection().get(config)).get_execution_options().keys()
        != set()
    )


def test_unreachable_apdb_is_opened_by_a_visit(tmp_path: Path) -> None:
    assert check_apdb_version(str(tmp_path / "nothing.yaml")) is None


def test_compiled_parser_reads_the_same_schema(config: str) -> None:
    def schema(apdb: Apdb) -> dict[ApdbTables, list[tuple[str, str, bool]]]:
        return {
            table: [(column.name, str(column.datatype), column.nullable) for column in found.columns]
            for table in ApdbTables
            if (found := apdb.tableDef(table)) is not None
        }

    interpreted = Apdb.from_config(read_config(config))
    with compiled_yaml():
        assert yaml.SafeLoader is yaml.CSafeLoader
        compiled = Apdb.from_config(read_config(config))
    assert yaml.SafeLoader is not yaml.CSafeLoader
    assert schema(compiled) == schema(interpreted)
    assert len(schema(compiled)) > 3
