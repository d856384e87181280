"""A plain function with typed parameters is a command, a flow of Prefect, and resumes what it began."""

from __future__ import annotations

import inspect
import json
import os
from pathlib import Path
from typing import Any, Literal

import pytest

from prompt_processing.cli.flow import run as commands
from prompt_processing.cli.flow.deploy import main as deploy_command
from prompt_processing.flows import flow as flow_module
from prompt_processing.flows.engine import execute
from prompt_processing.flows.errors import FlowError
from prompt_processing.flows.flow import flow, load_flow
from prompt_processing.flows.memory import Memory
from prompt_processing.flows.place import Place
from prompt_processing.flows.run import FlowRun, Silent
from prompt_processing.flows.settings import FlowSettings
from prompt_processing.flows.table import FLOWS, FlowEntry

CALLS: list[dict[str, Any]] = []


@flow
def count_stars(
    run: FlowRun,
    *,
    repo: str,
    nights: tuple[int, ...] = (),
    bands: tuple[str, ...] = ("g", "r"),
    limit: float | None = None,
    mode: Literal["quick", "deep"] = "quick",
    certify: bool = True,
    folder: Path | None = None,
) -> None:
    """Count the stars of some nights.

    Longer words.

    Parameters
    ----------
    run
        The run.
    repo
        Butler repository.
    nights, bands
        What to count,
        on two lines.
    limit
        Faintest magnitude.
    mode
        How.
    certify
        Certify the count.
    folder
        Where the count goes.
    """
    CALLS.append(
        {"repo": repo, "nights": nights, "bands": bands, "limit": limit, "mode": mode, "dry": run.dry_run}
    )
    name = run.remember("name", lambda: f"count-{len(CALLS)}")
    run.table("Counts", [{"night": night, "name": name} for night in nights])
    if repo == "broken":
        raise FlowError("the repository is broken")


@pytest.fixture(autouse=True)
def known_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    CALLS.clear()
    monkeypatch.setitem(FLOWS, "count-stars", FlowEntry("toy:count_stars", "Count stars."))
    monkeypatch.setattr(
        flow_module, "import_module", lambda name: type("toy", (), {"count_stars": count_stars})
    )
    for name in [name for name in os.environ if name.startswith(("WM_", "FLOW_", "PREFECT_"))]:
        monkeypatch.delenv(name)


def run_flow(tmp_path: Path, dry_run: bool = False, **parameters: Any) -> tuple[Any, ...]:
    return execute(
        load_flow("count-stars"),
        parameters,
        work=tmp_path,
        place=Place(),
        reporter=Silent(),
        dry_run=dry_run,
    )


def test_parameters_have_types_defaults_and_the_words_of_the_docstring() -> None:
    parameters = {one.name: one for one in count_stars.parameters}
    assert list(parameters) == ["repo", "nights", "bands", "limit", "mode", "certify", "folder"]
    assert parameters["repo"].required
    assert parameters["bands"].help == parameters["nights"].help == "What to count, on two lines."
    assert parameters["limit"].annotation == float | None
    assert parameters["folder"].help == "Where the count goes."
    assert count_stars.description == "Count the stars of some nights.\n\nLonger words."


def test_options_of_the_command_are_the_parameters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command = commands.command_of("count-stars")
    words = "--repo here --nights 20260101,20260102 --bands z --limit 21.5 --mode deep --no-certify --dry-run"
    with pytest.raises(SystemExit, match="0"):
        command.main(words.split())
    assert CALLS == [
        {
            "repo": "here",
            "nights": (20260101, 20260102),
            "bands": ("z",),
            "limit": 21.5,
            "mode": "deep",
            "dry": True,
        }
    ]
    assert list(tmp_path.iterdir()) == []


def test_parameters_that_are_wrong_are_named(tmp_path: Path) -> None:
    with pytest.raises(FlowError, match="has no parameter night: it has repo, nights"):
        run_flow(tmp_path, repo="r", night=1)
    with pytest.raises(FlowError, match="count-stars needs repo"):
        run_flow(tmp_path)
    with pytest.raises(FlowError, match="no flow 'x': choose one of build-calibrations"):
        load_flow("x")


def test_what_a_failed_run_chose_is_chosen_again_until_one_ends_well(tmp_path: Path) -> None:
    def names(repo: str) -> str:
        tables = run_flow(tmp_path, repo=repo, nights=(1,))
        return str(tables[0].rows[0]["name"])

    for _ in range(2):
        with pytest.raises(FlowError, match="broken"):
            run_flow(tmp_path, repo="broken", nights=(1,))
    # The second attempt had the name of the first.
    (memory,) = (tmp_path / "count-stars").glob("unfinished-*.json")
    assert "count-1" in memory.read_text()
    # Other parameters are another run, and what ended well is not remembered.
    assert names("good") == "count-3"
    assert names("good") == "count-4"


def test_only_one_process_at_a_time_runs_a_flow_with_the_same_parameters(tmp_path: Path) -> None:
    with (
        Memory.of(tmp_path, {"a": 1}),
        pytest.raises(FlowError, match="wait for its end"),
        Memory.of(tmp_path, {"a": 1}),
    ):
        pass
    with Memory.of(tmp_path, {"a": 1}), Memory.of(tmp_path, {"a": 2}):
        pass


def test_environment_says_where_the_work_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    assert FlowSettings.load().place == Place()
    monkeypatch.setenv("WM_LOCAL", "true")
    assert FlowSettings.load().place.processes > 1
    assert FlowSettings.load(flow_processes=7).place == Place(processes=7)
    monkeypatch.setenv("WM_DASK_SCHEDULER", "10.0.0.1:8786")
    assert FlowSettings.load().place == Place("tcp://10.0.0.1:8786")


def test_items_are_worked_on_in_this_process_with_progress(tmp_path: Path) -> None:
    shown: list[tuple[str, int, int]] = []

    class Reporter(Silent):
        def progress(self, what: str, done: int, total: int) -> None:
            shown.append((what, done, total))

    run = FlowRun(tmp_path, reporter=Reporter())
    assert dict(run.map(abs, [-1, -2], "numbers")) == {-1: 1, -2: 2}
    assert shown == [("numbers", 0, 2), ("numbers", 1, 2), ("numbers", 2, 2)]


def test_prefect_has_the_same_parameters_and_finds_the_flow_by_its_module() -> None:
    from prompt_processing.flows import deployed
    from prompt_processing.flows.in_prefect import prefect_flow

    made = prefect_flow(count_stars)
    assert made.name == "count-stars"
    assert list(inspect.signature(made.fn).parameters) == [one.name for one in count_stars.parameters] + [
        "dry_run"
    ]
    checked = made.validate_parameters({"repo": "r", "nights": [20260101], "folder": "x"})
    assert checked["nights"] == (20260101,)
    assert checked["folder"] == Path("x")
    assert made.parameters.required == ["repo"]
    # What a deployment imports, in another process.
    assert made.__module__ == deployed.__name__
    assert getattr(deployed, made.fn.__name__).name == "count-stars"
    with pytest.raises(AttributeError, match="no flow 'nothing'"):
        _ = deployed.nothing


def test_without_a_server_prefect_is_not_started(capsys: pytest.CaptureFixture[str]) -> None:
    for command, words in (
        (commands.command_of("count-stars"), ["--repo", "r", "--prefect"]),
        (deploy_command, ["build-calibrations"]),
    ):
        with pytest.raises(SystemExit, match="1"):
            command.main(words)
        assert "set PREFECT_API_URL" in capsys.readouterr().err
    assert CALLS == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[]", "not a mapping"),
        ("flow: {}", "no flow 'flow'"),
        ("count-stars: {parameters: {repo: r}, at: 8}", "at: Extra inputs"),
        ("count-stars: {parameters: {}}", "needs repo"),
        ("count-stars: {parameters: {repo: r, nigth: 3}}", "no parameter nigth"),
        ("count-stars: {cron: 'every day', parameters: {repo: r}}", "cron"),
    ],
)
def test_schedules_are_checked_before_anything_is_registered(
    text: str, complaint: str, tmp_path: Path
) -> None:
    from prompt_processing.flows.deploy import read_schedules

    path = tmp_path / "schedules.yaml"
    path.write_text(text)
    with pytest.raises(FlowError, match=complaint):
        read_schedules(path)


def test_credentials_are_not_passed_on_to_the_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from prompt_processing.flows.deploy import Schedule, deployment_of

    monkeypatch.setenv("WM_S3_DEST_SECRET", "very secret")
    monkeypatch.setenv("WM_DASK_SCHEDULER", "tcp://dask:8786")
    plan = Schedule(cron="0 8 * * *", parameters={"repo": "r"})
    made = deployment_of("count-stars", plan, "day", FlowSettings.load())
    assert made.entrypoint == "prompt_processing.flows.deployed.count_stars"
    assert made.job_variables["env"]["WM_DASK_SCHEDULER"] == "tcp://dask:8786"
    # By the tag, the server tells our runs, whose silence means death, from those of others.
    assert made.tags == ["prompt-processing"]
    assert not [name for name in made.job_variables["env"] if "S3_DEST" in name]
    assert "very secret" not in made.model_dump_json()


@pytest.mark.parametrize(
    ("kind", "pool_type"), [("local", "process"), ("docker", "docker"), ("kubernetes", "kubernetes")]
)
def test_templates_of_prefects_pools_take_the_variables_of_deployments(
    kind: str, pool_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import prefect.server
    from prefect.client.schemas.actions import WorkPoolCreate

    from prompt_processing.flows.deploy import Schedule, check_job_template, deployment_of

    monkeypatch.setenv("WM_RUN_CONFIG_TYPE", kind)
    monkeypatch.setenv("WM_DATA_PIPELINE_IMAGE", "example.org/prompt-flows:1")
    made = deployment_of("count-stars", Schedule(parameters={"repo": "r"}), "day", FlowSettings.load())
    assert made.job_variables.get("image") == (None if kind == "local" else "example.org/prompt-flows:1")
    # What a server answers when it is asked for a template.
    views = Path(prefect.server.__file__).parent / "api/collections_data/views"
    workers = json.loads((views / "aggregate-worker-metadata.json").read_text())
    (template,) = [
        worker["default_base_job_configuration"]
        for collection in workers.values()
        for worker in collection.values()
        if worker["type"] == pool_type
    ]
    WorkPoolCreate(name="day", type=pool_type, base_job_template=template)
    check_job_template(template, pool_type, made.job_variables)
    with pytest.raises(FlowError, match="has no variable imago"):
        check_job_template(template, pool_type, {"imago": "x"})
    with pytest.raises(FlowError, match="refuses"):
        check_job_template(template, pool_type, {"env": 3})
    with pytest.raises(FlowError, match=f"knows no job template of type {pool_type}"):
        check_job_template(None, pool_type, {})
