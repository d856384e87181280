"""Both drivers of PostgreSQL work, by whichever URL a site names them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import butler_world as world
import pytest
from apdb_rows import write
from lsst.daf.butler import Butler
from real_central import use_environment

from prompt_processing.apdb.preloaded_catalogs import open_apdb
from prompt_processing.repository.central import make_central_repository
from prompt_processing.services.postgresql import PostgreSql

pytestmark = pytest.mark.services

VISIT = 2026112100001
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
