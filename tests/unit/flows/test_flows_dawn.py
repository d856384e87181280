"""The flows of the day run on the night that the demo kept, each whatever became of the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lsst.daf.butler import Butler, CollectionType  # type: ignore[attr-defined]

from prompt_processing.flows.daily import dawn as module
from prompt_processing.flows import flow as flow_module
from prompt_processing.flows.engine import execute
from prompt_processing.flows.errors import FlowError
from prompt_processing.flows.flow import Flow, flow, load_flow
from prompt_processing.flows.place import Place
from prompt_processing.flows.run import FlowRun, Silent
from prompt_processing.flows.table import FLOWS

RAN: list[dict[str, Any]] = []


def part(name: str) -> Flow:
    def function(run: FlowRun, *, night: str) -> None:
        RAN.append({"name": name, "night": night, "dry": run.dry_run})
        run.table(name, [{"night": night}])
        if name == "draw-night":
            raise FlowError("no ink")

    function.__name__ = name.replace("-", "_")
    function.__annotations__ = {"run": FlowRun, "night": str}
    return flow(function)


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_part_that_fails_does_not_keep_the_others_from_running(
    dry_run: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    RAN.clear()
    dawn = load_flow("dawn")
    names = ("export-night", "draw-night", "night-report")
    monkeypatch.setattr(
        module, "_parts", lambda demo, folder: {name: {"night": "2026-01-10"} for name in names}
    )
    monkeypatch.setattr(flow_module, "load_flow", part)
    tables: list[Any] = []
    with pytest.raises(FlowError, match="draw-night failed"):
        execute(
            dawn,
            {"demo": tmp_path / "demo"},
            work=tmp_path / "work",
            place=Place(),
            reporter=Silent(),
            dry_run=dry_run,
            tables=tables,
        )
    assert [one["name"] for one in RAN] == list(names)
    assert {one["dry"] for one in RAN} == {dry_run}
    assert [table.title for table in tables] == [*names, "Flows"]
    assert [row["error"] for row in tables[-1].rows] == ["", "no ink", ""]
    assert (tmp_path / "demo" / "dawn").exists() is not dry_run


def test_instrument_and_night_are_those_of_the_kept_outputs(tmp_path: Path) -> None:
    with pytest.raises(FlowError, match="prompt demo --keep"):
        module._processed_night(tmp_path / "repository")
    Butler.makeRepo(str(tmp_path / "repository"))
    with pytest.raises(FlowError, match="no outputs of a night"):
        module._processed_night(tmp_path / "repository")
    with Butler.from_config(str(tmp_path / "repository"), writeable=True) as butler:
        for night in ("2026-11-28", "2026-11-29"):
            butler.collections.register(f"HSC/prompt/output-{night}", CollectionType.CHAINED)
            butler.collections.register(f"HSC/prompt/output-{night}/ApPipe/x")
    assert module._processed_night(tmp_path / "repository") == ("HSC", "2026-11-29")
    with pytest.raises(FlowError, match=r"night.db has no night"):
        module._reported_night(tmp_path / "night.db")


def test_each_part_has_the_parameters_of_its_flow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_processed_night", lambda repo: ("HSC", "2026-11-29"))
    monkeypatch.setattr(module, "_reported_night", lambda database: "2026-11-29")
    parts = module._parts(tmp_path, tmp_path / "dawn")
    assert set(parts) <= set(FLOWS)
    for name, parameters in parts.items():
        load_flow(name).check(parameters)
