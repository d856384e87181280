"""Both drivers of PostgreSQL work, by whichever URL a site names them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import butler_world as world
import pytest
from apdb_rows import write
from lsst.daf.butler import Butler
from lsst.dax.apdb.sql import ApdbSql
from real_central import use_environment
from sqlalchemy.exc import SQLAlchemyError

from prompt_processing.apdb.preloaded_catalogs import open_apdb
from prompt_processing.domain.errors import RetriableError
from prompt_processing.repository.central import make_central_repository
from prompt_processing.services.postgresql import PostgreSql

pytestmark = pytest.mark.services

VISIT = 2026112100001
DATABASES_PAGE = Path(__file__).parents[2] / "doc/playbook/databases.md"
DRIVERS = {
    "postgresql": "psycopg",
    "postgresql+psycopg2": "psycopg2",
    "postgresql+psycopg": "psycopg",
}


@pytest.fixture(params=DRIVERS)
def url(
    request: pytest.FixtureRequest,
    postgresql: PostgreSql,
    new_name: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    use_environment(monkeypatch, postgresql)
    made = postgresql.create_database(new_name("drivers").replace("-", "_"))
    return f"{request.param}://{made.partition('://')[2]}"


def test_the_apdb_is_made_and_written(url: str, tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("apdb-cli")
    config = str(tmp_path / "apdb.yaml")
    subprocess.run([program, "create-sql", "--namespace=prompt", url, config], check=True, timeout=300)
    apdb = open_apdb(config)
    try:
        assert apdb._engine.driver == DRIVERS[url.partition("://")[0]]
        write(apdb, VISIT, world.DETECTOR, first_id=1)
        assert apdb.containsVisitDetector(VISIT, world.DETECTOR)
    finally:
        apdb._engine.dispose()


def test_a_registry_is_made_and_queried(url: str, tmp_path: Path) -> None:
    camera = world.small_camera()
    root = str(tmp_path / "central")
    make_central_repository(root, camera, world.small_content(camera), database=url)
    with Butler.from_config(root) as butler:
        detectors = butler.query_dimension_records("detector", instrument=camera.name)
        assert world.DETECTOR in {record.id for record in detectors}
        assert butler.query_datasets("bias", collections="*", find_first=False)


def test_reader_of_the_documentation_reads_everything_and_writes_nothing(
    postgresql: PostgreSql, new_name: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_environment(monkeypatch, postgresql)
    name = new_name("reader").replace("-", "_")
    url = postgresql.create_database(name)
    config, root = tmp_path / "apdb.yaml", tmp_path / "central"
    ApdbSql.init_database(db_url=url, namespace="pp_apdb").save(str(config))
    owner = open_apdb(str(config))
    write(owner, VISIT, world.DETECTOR, first_id=1)
    camera = world.small_camera()
    make_central_repository(str(root), camera, world.small_content(camera), database=url)
    (sql,) = re.findall(
        r"^```sql\n(CREATE ROLE.*?)^```", DATABASES_PAGE.read_text(), re.DOTALL | re.MULTILINE
    )
    with postgresql.connect(name) as admin:
        for statement in sql.replace("prompt_reader", name).split(";")[:-1]:
            admin.execute(statement)
        admin.execute(f"ALTER ROLE {name} PASSWORD 'only-here'")
    # Tables that were made later are included.
    with postgresql.connect(name) as admin:
        admin.execute("CREATE TABLE pp_apdb.later (n int)")
    # As in the hub: no user in the addresses, and the rest in the environment.
    plain = f"postgresql://{url.partition('@')[2]}"
    for file in (config, root / "butler.yaml"):
        text = file.read_text()
        assert url in text
        file.write_text(text.replace(url, plain))
    monkeypatch.setenv("LSST_DB_AUTH", str(tmp_path / "none.yaml"))
    monkeypatch.setenv("PGUSER", name)
    monkeypatch.setenv("PGPASSWORD", "only-here")
    reader = open_apdb(str(config))
    try:
        assert reader.containsVisitDetector(VISIT, world.DETECTOR)
        with pytest.raises(RetriableError, match="read-only transaction"):
            write(reader, VISIT + 1, world.DETECTOR, first_id=10)
        with reader._engine.connect() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM pp_apdb.later").scalar() == 0
            connection.rollback()
            # A notebook may change the setting; then the missing grant refuses.
            connection.exec_driver_sql("SET default_transaction_read_only = off")
            connection.commit()
            for attempt in (
                'DELETE FROM pp_apdb."DiaSource"',
                "CREATE TABLE public.mine (n int)",
                "CREATE TABLE pp_apdb.mine (n int)",
                "DROP TABLE public.butler_attributes",
            ):
                with pytest.raises(SQLAlchemyError, match=r"permission denied|must be owner"):
                    connection.exec_driver_sql(attempt)
                connection.rollback()
        with Butler.from_config(str(root)) as butler:
            assert butler.query_dimension_records("detector", instrument=camera.name)
        with pytest.raises(SQLAlchemyError, match="read-only transaction"):
            Butler.from_config(str(root), writeable=True)
    finally:
        owner._engine.dispose()
        reader._engine.dispose()
