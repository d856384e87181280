"""Development APDBs are made, looked at and emptied; others are left alone."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy
from lsst.dax.apdb import Apdb
from lsst.utils.db_auth import DbAuth

from prompt_processing.apdb.version import ApdbVersionError, check_apdb_version
from prompt_processing.cli.main import run
from prompt_processing.services.postgresql import PostgreSql

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONFIG_APDB", raising=False)


def fill(url: str, namespace: str | None = None) -> None:
    """Write a DiaSource's row with nothing but what must be there."""
    engine = sqlalchemy.create_engine(DbAuth().getUrl(url) if namespace else url)
    metadata = sqlalchemy.MetaData(schema=namespace)
    table = sqlalchemy.Table("DiaSource", metadata, autoload_with=engine)
    row = {
        column.name: "" if isinstance(column.type, sqlalchemy.String) else 0
        for column in table.columns
        if not column.nullable
    }
    for column in table.columns:
        if isinstance(column.type, sqlalchemy.DateTime | sqlalchemy.TIMESTAMP) and column.name in row:
            row[column.name] = sqlalchemy.func.now()
        if isinstance(column.type, sqlalchemy.Boolean) and column.name in row:
            row[column.name] = False
    row["visit"] = 2025060900578
    with engine.begin() as connection:
        connection.execute(table.insert().values(**row))
    engine.dispose()


def status(config: str, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    capsys.readouterr()
    run("apdb", "status", config, "--json")
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


@pytest.fixture
def sqlite(tmp_path: Path) -> tuple[str, str]:
    return f"sqlite:///{tmp_path / 'apdb.db'}", str(tmp_path / "apdb.yaml")


def test_new_apdb_is_empty_and_usable(sqlite: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    url, config = sqlite
    assert run("apdb", "create", "--development", url, config) == 0
    found = status(config, capsys)
    assert found["compatible"]
    assert found["schema_version"] == found["installed_version"]
    assert found["rows"] == {"DiaObject": 0, "DiaSource": 0, "DiaForcedSource": 0}
    assert found["last_visit"] is None
    assert not Apdb.from_uri(config).containsVisitDetector(1, 1)


def test_reset_asks_names_what_it_destroys_and_keeps_the_mark(
    sqlite: tuple[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, config = sqlite
    assert run("apdb", "create", "--development", url, config) == 0
    fill(url)
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    assert run("apdb", "reset", config) == 1
    shown = capsys.readouterr().out
    assert "apdb.db" in shown
    assert "DiaSource    1 rows" in shown
    assert "2025060900578" in shown
    assert status(config, capsys)["last_visit"] == 2025060900578
    monkeypatch.setattr("sys.stdin", io.StringIO("apdb.db\n"))
    assert run("apdb", "reset", config) == 0
    found = status(config, capsys)
    assert found["rows"] == {"DiaObject": 0, "DiaSource": 0, "DiaForcedSource": 0}
    assert found["development"]
    # Again and again, between runs of a tester.
    assert run("apdb", "reset", "--yes", config) == 0


def test_file_is_found_from_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("apdb", "create", "sqlite:///apdb.db", "apdb.yaml") == 0
    monkeypatch.chdir("/")
    assert status(str(tmp_path / "apdb.yaml"), capsys)["database"] == f"sqlite:///{tmp_path}/apdb.db"


def test_nobody_there_to_answer_means_no(sqlite: tuple[str, str]) -> None:
    url, config = sqlite
    assert run("apdb", "create", "--development", url, config) == 0
    command = [sys.executable, "-m", "prompt_processing", "apdb", "reset", config]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Nothing was changed" in done.stdout


def test_database_that_is_not_for_development_is_left_alone(
    sqlite: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    url, config = sqlite
    assert run("apdb", "create", url, config) == 0
    fill(url)
    assert run("apdb", "reset", "--yes", config) == 1
    assert "not marked" in capsys.readouterr().err
    assert status(config, capsys)["last_visit"] == 2025060900578


def test_apdb_that_is_there_is_not_made_again(
    sqlite: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url, config = sqlite
    assert run("apdb", "create", url, config) == 0
    assert run("apdb", "create", url, str(tmp_path / "other.yaml")) == 1
    assert "already has tables of an APDB" in capsys.readouterr().err
    assert run("apdb", "create", f"sqlite:///{tmp_path}/new.db", config) == 1
    assert "exists already" in capsys.readouterr().err
    assert not (tmp_path / "new.db").exists()


def test_apdb_of_another_schema_is_told_and_no_worker_starts_on_it(
    sqlite: tuple[str, str], capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    url, config = sqlite
    assert run("apdb", "create", "--development", url, config) == 0
    check_apdb_version(config)
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        connection.execute(
            sqlalchemy.text("UPDATE metadata SET value = '1.0.0' WHERE name = 'version:schema'")
        )
    engine.dispose()
    with pytest.raises(ApdbVersionError, match="prompt apdb reset"):
        check_apdb_version(config)
    assert run("apdb", "status", config) == 2
    assert "DOES NOT FIT" in capsys.readouterr().out
    # An incompatible database can still be reset.
    assert run("apdb", "reset", "--yes", config) == 0
    check_apdb_version(config)


def test_apdb_that_cannot_be_reached_does_not_keep_a_worker_from_starting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    check_apdb_version(str(tmp_path / "nothing.yaml"))
    assert "cannot be opened" in caplog.text


@pytest.mark.services
def test_apdb_in_a_namespace_of_postgresql(
    postgresql: PostgreSql,
    new_name: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name, value in postgresql.environment().items():
        monkeypatch.setenv(name, value)
    url = postgresql.create_database(new_name("apdb").replace("-", "_"))
    ours, theirs = str(tmp_path / "ours.yaml"), str(tmp_path / "theirs.yaml")
    assert run("apdb", "create", "--development", "--namespace=pp_apdb", url, ours) == 0
    assert run("apdb", "create", "--namespace=production", url, theirs) == 0
    for namespace in ("pp_apdb", "production"):
        fill(url, namespace)
    assert run("apdb", "reset", "--yes", theirs) == 1
    assert run("apdb", "reset", "--yes", ours) == 0
    assert status(ours, capsys)["last_visit"] is None
    assert status(theirs, capsys)["last_visit"] == 2025060900578
    assert "namespace pp_apdb" in str(status(ours, capsys)["database"])
