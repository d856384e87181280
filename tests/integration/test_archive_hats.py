"""HATS catalogues of archived nights open in LSDB."""

from __future__ import annotations

from pathlib import Path

import apdb_rows
import pytest
from astropy.time import Time
from lsst.dax.apdb import Apdb
from lsst.dax.apdb.sql import ApdbSql

from prompt_processing.cli.main import run

pytestmark = pytest.mark.integration

LATER = Time("2026-11-22T03:00:00", scale="tai")


def test_lsdb_opens_objects_with_light_curves_of_both_nights(tmp_path: Path) -> None:
    # Takes seconds, which only the process that runs this test should spend.
    import lsdb

    config = str(tmp_path / "apdb.yaml")
    ApdbSql.init_database(db_url=f"sqlite:///{tmp_path / 'apdb.db'}").save(config)
    apdb = Apdb.from_uri(config)
    apdb_rows.write(apdb, 7, 10, 100)
    apdb_rows.write(apdb, 7, 11, 200)
    root = tmp_path / "a"
    assert run("export-night", "2026-11-20", "--to", str(root), "--apdb", config) == 0
    objects = lsdb.open_catalog(root / "hats" / "dia_object_lc").compute()
    assert len(objects) == 6
    # In the next night three of the objects are seen again, and two are new.
    apdb_rows.write(apdb, 9, 10, 300, first_object=100, processed=LATER)
    apdb_rows.write(apdb, 9, 11, 500, 2, processed=LATER, ra=200.0)
    assert run("export-night", "2026-11-21", "--to", str(root), "--apdb", config) == 0
    catalogue = lsdb.open_catalog(root / "hats" / "dia_object_lc")
    objects = catalogue.compute().set_index("diaObjectId")
    assert sorted(objects.index) == [100, 101, 102, 200, 201, 202, 500, 501]
    assert objects["diaSource"][101]["diaSourceId"].tolist() == [101, 301]
    assert objects["diaForcedSource"][500]["visit"].tolist() == [9]
    assert objects["validityStartMjdTai"][100] == pytest.approx(LATER.tai.mjd, abs=1e-6)
    assert catalogue.margin is not None
    assert len(lsdb.open_catalog(root / "hats" / "dia_source").compute()) == 11
    assert run("export-night", "2026-11-21", "--to", str(root), "--apdb", config, "--check") == 0
