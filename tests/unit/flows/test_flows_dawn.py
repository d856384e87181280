"""The flows of the day run on the night that the demo kept, each whatever became of the others."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from lsst.daf.butler import Butler, CollectionType  # type: ignore[attr-defined]
from night_messages import a_visit, ended

from prompt_processing.flows import flow as flow_module
from prompt_processing.flows.daily import dawn as module
from prompt_processing.flows.daily.dawn_page import write_dawn_page
from prompt_processing.flows.daily.demo_night import DemoNight, find_demo_night, in_environment
from prompt_processing.flows.engine import execute
from prompt_processing.flows.errors import FlowError
from prompt_processing.flows.flow import Flow, flow, load_flow
from prompt_processing.flows.place import Place
from prompt_processing.flows.run import FlowRun, Silent
from prompt_processing.flows.table import FLOWS
from prompt_processing.nights.store import NightStore

RAN: list[dict[str, Any]] = []


def part(name: str) -> Flow:
    def function(run: FlowRun, *, night: str) -> None:
        RAN.append({"name": name, "night": night, "dry": run.dry_run, "key": os.environ.get("DEMO_KEY")})
        run.table(name, [{"night": night}])
        if name == "draw-night":
            raise FlowError("no ink <here>")
        if name == "night-cube":
            raise ZeroDivisionError("no visit")

    function.__name__ = name.replace("-", "_")
    function.__annotations__ = {"run": FlowRun, "night": str}
    return flow(function)


@pytest.fixture
def night(tmp_path: Path) -> DemoNight:
    (tmp_path / "environment.sh").write_text(
        "export PATH=/nowhere\nexport DEMO_KEY='several\nlines'\nexport CENTRAL_REPO=central\n"
    )
    return DemoNight(
        tmp_path, "HSC", "HSC/prompt/output-2026-11-29", "2026-11-29", "2026-11-29", "2026-11-30", 2
    )


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_part_that_fails_does_not_keep_the_others_from_running(
    dry_run: bool, night: DemoNight, monkeypatch: pytest.MonkeyPatch
) -> None:
    RAN.clear()
    dawn = load_flow("dawn")
    names = ("export-night", "draw-night", "catch-up", "night-cube", "night-report")
    parts = {name: module.Part({"night": "2026-01-10"}, name == "catch-up") for name in names}
    monkeypatch.setattr(module, "_parts", lambda night, folder, again: parts)
    monkeypatch.setattr(module, "find_demo_night", lambda demo: night)
    monkeypatch.setattr(flow_module, "load_flow", part)
    tables: list[Any] = []
    with pytest.raises(FlowError, match="draw-night, night-cube failed"):
        execute(
            dawn,
            {"demo": night.folder},
            work=night.folder / "work",
            place=Place(),
            reporter=Silent(),
            dry_run=dry_run,
            tables=tables,
        )
    ran = ("export-night", "draw-night", "night-cube", "night-report")
    assert [one["name"] for one in RAN] == list(ran)
    assert {one["dry"] for one in RAN} == {dry_run}
    # Parts run in the environment of the demo, which ends with them.
    assert {one["key"] for one in RAN} == {"several\nlines"}
    assert "DEMO_KEY" not in os.environ
    assert [table.title for table in tables] == [*ran, "Flows"]
    assert [(row["outcome"], row["reason"]) for row in tables[-1].rows] == [
        ("done", ""),
        ("failed", "no ink <here>"),
        ("left out", "the demo's object store has stopped"),
        ("failed", "ZeroDivisionError: no visit"),
        ("done", ""),
    ]
    page = night.folder / "dawn" / "index.html"
    assert page.exists() is not dry_run
    assert dry_run or "no ink &lt;here&gt;" in page.read_text()


@pytest.mark.parametrize(("n_gaps", "said"), [(0, "no gaps"), (1, "1 gap"), (2, "2 gaps")])
def test_page_has_the_number_of_gaps(n_gaps: int, said: str, night: DemoNight, tmp_path: Path) -> None:
    row = {"flow": "catch-up", "outcome": "done", "seconds": 1.0, "reason": ""}
    write_dawn_page(tmp_path / "index.html", night, [row], tmp_path / "comparison", n_gaps)
    assert f"<td>{said}</td>" in (tmp_path / "index.html").read_text()


def test_night_is_the_one_of_the_camera_and_of_the_kept_outputs(tmp_path: Path) -> None:
    with pytest.raises(FlowError, match="prompt demo --keep"):
        find_demo_night(tmp_path)
    Butler.makeRepo(str(tmp_path / "repository"))
    with pytest.raises(FlowError, match="no outputs of a night"):
        find_demo_night(tmp_path)
    with Butler.from_config(str(tmp_path / "repository"), writeable=True) as butler:
        for day in ("2026-11-28", "2026-11-29"):
            butler.collections.register(f"HSC/prompt/output-{day}", CollectionType.CHAINED)
            butler.collections.register(f"HSC/prompt/output-{day}/ApPipe/x")
    with pytest.raises(FlowError, match=r"night.db has no night"):
        find_demo_night(tmp_path)
    store = NightStore(str(tmp_path / "night.db"))
    store.write([ended(a_visit(1))], {})
    store.close()
    found = find_demo_night(tmp_path)
    assert (found.instrument, found.chain) == ("HSC", "HSC/prompt/output-2026-11-29")
    assert found.n_visits == 1


def test_services_have_stopped_if_one_of_them_does_not_answer(night: DemoNight) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        store, broker = one.getsockname()[1], two.getsockname()[1]
        (night.folder / "environment.sh").write_text(
            f"export S3_ENDPOINT_URL=http://127.0.0.1:{store}\nexport KAFKA_CLUSTER=127.0.0.1:{broker}\n"
        )
        assert night.stopped_service() == ""
        two.close()
        assert night.stopped_service() == "Kafka broker"
    assert night.stopped_service() == "object store"


def test_environment_ends_with_the_block() -> None:
    with in_environment({"DEMO_KEY": "1"}):
        assert os.environ["DEMO_KEY"] == "1"
    assert "DEMO_KEY" not in os.environ


def test_each_part_has_the_parameters_of_its_flow(night: DemoNight, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_processed_by", lambda night: {"detectors": (4,)})
    parts = module._parts(night, night.folder / "dawn", "u/dawn/1")
    assert set(parts) <= set(FLOWS)
    for name, one in parts.items():
        load_flow(name).check(one.parameters)
    # A camera's night and that of the database may have different dates.
    assert parts["export-night"].parameters["night"] == "2026-11-30"
    assert parts["night-report"].parameters["night"] == "2026-11-29"
