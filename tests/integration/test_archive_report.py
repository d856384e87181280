"""The report of a night is one page that needs nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path

import apdb_rows
import fastavro
import pytest
from alert_packets import encode
from astropy.time import Time
from lsst.dax.apdb import Apdb
from lsst.dax.apdb.sql import ApdbSql
from night_messages import START, a_visit, ended

from prompt_processing.alerts.reading import AlertReader
from prompt_processing.archive.night_report.page import NOTEBOOK
from prompt_processing.cli.main import run
from prompt_processing.domain.outcome import Status
from prompt_processing.nights.store import NightStore

pytestmark = pytest.mark.integration

EVIL = "<script>alert(1)</script>"


def test_page_shows_the_night_and_requests_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    messages = [ended(a_visit(1, 94)), ended(a_visit(1, 95), status=Status.FAILED, reason=EVIL)]
    NightStore(tmp_path / "night.db").write(messages, {})
    ApdbSql.init_database(db_url=f"sqlite:///{tmp_path / 'apdb.db'}").save("apdb.yaml")
    night = Time(START, format="unix")
    apdb_rows.write(Apdb.from_uri("apdb.yaml"), 2026053100101, 94, 700, processed=night.tai)
    content, schema = AlertReader().with_schema(encode(700))
    with (tmp_path / "alert.avro").open("wb") as file:
        fastavro.writer(file, schema, [content])
    options = ["--database", "night.db", "--apdb", "apdb.yaml", "--alerts", "alert.avro"]
    assert run("night-report", "2026-05-31", *options, "-o", "page.html") == 0
    page = (tmp_path / "page.html").read_text()
    text = re.sub(r"<[^>]+>", " ", page)
    assert re.search(r"DiaSources in the APDB\s+3", text)
    assert "&lt;script&gt;" in page
    assert EVIL not in page
    for attribute in re.findall(r'(?:src|href|url)\s*[=(]\s*"?([^">)\s]*)', page):
        assert attribute.startswith(("data:", "#")), attribute[:80]
    assert "<script" not in page
    assert page.count("<img alt=") == 5
    # A notebook of one's own that fails is named with its error.
    notebook = json.loads(NOTEBOOK.read_text())
    notebook["cells"] = [notebook["cells"][0], {**notebook["cells"][1], "source": "1 / 0"}]
    (tmp_path / "mine.ipynb").write_text(json.dumps(notebook))
    capsys.readouterr()
    assert run("night-report", "2026-05-31", "--database", "night.db", "--notebook", "mine.ipynb") == 1
    assert "mine.ipynb fails in its cell" in (shown := capsys.readouterr().err)
    assert "ZeroDivisionError" in shown
