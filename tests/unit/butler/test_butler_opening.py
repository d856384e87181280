"""Repositories open whatever a killed writer left beside the database."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from lsst.daf.butler import Butler
from sqlalchemy.exc import OperationalError

from prompt_processing.butler.opening import open_repository
from prompt_processing.domain.errors import RepositoryProblemError


@pytest.fixture(scope="module")
def killed_inside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository as a writer that was killed in a transaction leaves it."""
    living = tmp_path_factory.mktemp("living")
    Butler.makeRepo(str(living))
    killed = tmp_path_factory.mktemp("killed") / "repo"
    with closing(sqlite3.connect(living / "gen3.sqlite3", isolation_level=None)) as writer:
        # A cache of few pages makes the transaction reach the file before its end.
        writer.execute("PRAGMA cache_size = 2")
        writer.execute("BEGIN")
        writer.execute("CREATE TABLE unfinished (text TEXT)")
        writer.executemany("INSERT INTO unfinished VALUES (?)", [("x" * 1000,)] * 500)
        shutil.copytree(living, killed)
    return killed


@pytest.fixture
def repo(killed_inside: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(killed_inside, tmp_path / "repo"))


def test_reader_rolls_back_the_transaction_of_a_killed_writer(repo: Path) -> None:
    with pytest.raises(OperationalError, match="readonly"), Butler.from_config(str(repo)):
        pass
    with open_repository(str(repo)) as butler:
        assert not butler.collections.query("*")
    assert not (repo / "gen3.sqlite3-journal").exists()
    with closing(sqlite3.connect(repo / "gen3.sqlite3")) as database:
        assert not database.execute("SELECT name FROM sqlite_master WHERE name = 'unfinished'").fetchall()


def test_transaction_of_a_living_writer_is_left_alone(tmp_path: Path) -> None:
    Butler.makeRepo(str(tmp_path))
    with closing(sqlite3.connect(tmp_path / "gen3.sqlite3", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("CREATE TABLE unfinished (text TEXT)")
        assert (tmp_path / "gen3.sqlite3-journal").exists()
        with open_repository(str(tmp_path)) as butler:
            assert not butler.collections.query("*")
        writer.execute("COMMIT")
        assert writer.execute("SELECT count(*) FROM unfinished").fetchone() == (0,)


def test_reader_that_may_not_write_is_told_who_must(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> sqlite3.Connection:
        raise sqlite3.OperationalError("attempt to write a readonly database")

    # In place of permissions, which do not hold for root.
    monkeypatch.setattr("prompt_processing.butler.opening.sqlite3.connect", refuse)
    with pytest.raises(RepositoryProblemError, match=r"gen3\.sqlite3 was killed.* as a user who may write"):
        open_repository(str(repo))
