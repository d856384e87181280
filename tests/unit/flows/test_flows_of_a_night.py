"""The flows of a night list what they would do, and do what their commands do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apdb_rows
import pytest
from lsst.dax.apdb import Apdb
from lsst.dax.apdb.sql import ApdbSql
from night_messages import a_visit, ended

from prompt_processing.archive.manifest import NightManifest
from prompt_processing.domain.outcome import Status
from prompt_processing.flows.engine import execute
from prompt_processing.flows.errors import FlowError
from prompt_processing.flows.flow import load_flow
from prompt_processing.flows.place import Place
from prompt_processing.flows.run import Silent
from prompt_processing.nights.store import NightStore


def run(name: str, folder: Path, dry_run: bool = False, **parameters: Any) -> dict[str, list[dict[str, Any]]]:
    """Run a flow, and return the rows of its tables by title."""
    tables = execute(
        load_flow(name),
        parameters,
        work=folder / "work",
        place=Place(),
        reporter=Silent(),
        dry_run=dry_run,
    )
    return {table.title: [dict(row) for row in table.rows] for table in tables}


def test_export_lists_counts_and_then_adds_the_night(tmp_path: Path) -> None:
    config = str(tmp_path / "apdb.yaml")
    ApdbSql.init_database(db_url=f"sqlite:///{tmp_path / 'apdb.db'}").save(config)
    apdb_rows.write(Apdb.from_uri(config), 7, 10, 100)
    root = tmp_path / "archive"
    asked: dict[str, Any] = {"night": "2026-11-20", "to": root, "apdb": config, "hats": False}
    listed = run("export-night", tmp_path, dry_run=True, **asked)
    assert listed == {
        "To archive": [{"new visit-detectors": 1, "sources": 3, "forced sources": 3, "archived": 0}]
    }
    assert not root.exists()
    done = run("export-night", tmp_path, **asked)["Archive of 2026-11-20"]
    assert {row["table"]: row["new"] for row in done} == {
        "DiaSource": 3,
        "DiaForcedSource": 3,
        "DiaObject": 3,
    }
    # Rows that the APDB loses make the flow fail, after its tables were shown.
    manifest = NightManifest.read(root, 20261120)
    manifest.visits[0].sources = 4
    manifest.write(root)
    with pytest.raises(FlowError, match="4 DiaSources and 3 DiaForcedSources in the archive"):
        run("export-night", tmp_path, **asked)


def test_report_lists_the_night_and_writes_nothing_when_dry(tmp_path: Path) -> None:
    database = tmp_path / "night.db"
    NightStore(database).write([ended(a_visit(1, 94)), ended(a_visit(1, 95), status=Status.FAILED)], {})
    page = tmp_path / "page.html"
    tables = run(
        "night-report", tmp_path, dry_run=True, night="2026-05-31", database=str(database), output=page
    )
    assert {"what": "visit-detectors", "number": 2} in tables["Night 2026-05-31"]
    assert tables["Not processed"][0]["state"] == "failed"
    assert not page.exists()


def test_reprocessing_must_know_what_it_is_compared_with(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"repo": str(tmp_path), "instrument": "LSSTCam", "output": "u/me/again"}
    with pytest.raises(FlowError, match="Name the night, or the visits"):
        run("reprocess-night", tmp_path, **asked)
    with pytest.raises(FlowError, match="Name the night, or the visits"):
        run("reprocess-night", tmp_path, visits=(7,), **asked)
