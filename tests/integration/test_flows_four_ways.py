"""A flow makes the same datasets in process, on this machine's processes, on a cluster, and under Prefect."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flow_processes as processes
import numpy as np
import pytest
import small_camera as testcam
import yaml
from click.testing import CliRunner
from distributed import Client
from lsst.daf.butler import Butler

from prompt_processing.batch.errors import BatchError
from prompt_processing.butler.opening import open_repository
from prompt_processing.butler.types import use_butler_types
from prompt_processing.cli.repo.import_ import import_raws
from prompt_processing.cli.repo.make import main as make_repository
from prompt_processing.flows.engine import execute
from prompt_processing.flows.flow import load_flow
from prompt_processing.flows.place import Place
from prompt_processing.flows.run import Silent

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("warm_start")]

ROOT = Path(__file__).parents[2]
FLOW = "build-calibrations"
NAME = "one"
RUN = f"{testcam.NAME}/calib/{NAME}/run"
WORDS = ["flow", "run", FLOW, "--instrument", testcam.NAME, "--name", NAME]


@pytest.fixture(scope="module")
def raws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a repository with a few bias frames, to be copied."""
    folder = tmp_path_factory.mktemp("bias")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROMPT_INSTRUMENT_PATH", str(testcam.write_instrument(folder / "instruments")))
        use_butler_types()
        camera = testcam.SmallCamera()
        files = [
            str(camera.write(folder / f"{minute}.fits", "zero", 0.0, 0.0, float(minute)))
            for minute in range(1, 5)
        ]
        root = str(folder / "repo")
        for command, words in (
            (make_repository, ["--instrument", testcam.NAME, root]),
            (import_raws, [root, *files]),
        ):
            done = CliRunner().invoke(command, words, catch_exceptions=False)
            assert done.exit_code == 0, done.output
        yield folder / "repo"


@pytest.fixture
def repo(raws: Path, tmp_path: Path) -> str:
    return str(shutil.copytree(raws, tmp_path / "repo"))


@pytest.fixture(scope="module")
def expected(raws: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the checksums of what the flow makes in this process."""
    folder = tmp_path_factory.mktemp("here")
    root = str(shutil.copytree(raws, folder / "repo"))
    parameters = {"repo": root, "instrument": testcam.NAME, "name": NAME}
    execute(load_flow(FLOW), parameters, work=folder / "work", place=Place(), reporter=Silent())
    found = checksums(root)
    assert {name.partition(" ")[0] for name in found} >= {"bias", "defects", "camera"}
    return found


def checksums(repo: str) -> dict[str, str]:
    """Return the checksums of pixels and content of what is certified."""
    found: dict[str, str] = {}
    with Butler.from_config(repo, collections=f"{testcam.NAME}/calib") as butler:
        for name in ("bias", "defects", "camera"):
            for ref in butler.query_datasets(
                name, collections=f"{testcam.NAME}/calib/{NAME}", find_first=False
            ):
                value: Any = butler.get(ref, storageClass="ExposureF") if name == "bias" else butler.get(ref)
                digest = hashlib.sha256()
                if name == "bias":
                    for plane in (value.image, value.variance, value.mask):
                        digest.update(np.ascontiguousarray(plane).tobytes())
                elif name == "defects":
                    mask = np.zeros((testcam.HEIGHT, testcam.WIDTH), np.int32)
                    value.apply(mask)
                    digest.update(mask.tobytes())
                else:
                    digest.update(repr(value.detectors).encode())
                found[f"{name} {ref.dataId}"] = digest.hexdigest()
    return found


def test_processes_of_this_machine(repo: str, expected: dict[str, str], tmp_path: Path) -> None:
    environment = processes.flow_environment(WM_LOCAL="true")
    shown = processes.run(processes.prompt(*WORDS, "--repo", repo), environment, tmp_path)
    assert f"Certified {testcam.NAME}/calib/{NAME}" in shown
    assert checksums(repo) == expected


def test_cluster_of_separate_processes(repo: str, expected: dict[str, str], tmp_path: Path) -> None:
    with processes.dask_cluster(tmp_path) as address:
        # As the seed's users write it.
        environment = processes.flow_environment(WM_DASK_SCHEDULER=address.removeprefix("tcp://"))
        checked = processes.run(
            [processes.sys.executable, str(ROOT / "infra/dask/dask_test.py")], environment, tmp_path
        )
        assert "1 workers on 1 hosts, versions as here" in checked
        smallest = processes.run([str(ROOT / "flows/run_local.sh")], environment, tmp_path)
        assert "[2, 1, 0, 1]" in smallest
        assert "'this one': False" in smallest
        processes.run(processes.prompt(*WORDS, "--repo", repo), environment, tmp_path)
        lose_scheduler(address)
    assert checksums(repo) == expected


def lose_scheduler(address: str) -> None:
    """Kill a Dask scheduler while a flow works there: the flow ends with what happened."""
    place = Place(address)
    # An error of the work itself is not taken for that of a connection.
    with pytest.raises(FileNotFoundError, match="absent"):
        list(place.map(os.listdir, ["absent"]))
    with Client(address, set_as_default=False) as client:
        scheduler = client.run_on_scheduler(os.getpid)
    # The second item has begun, or waits.
    done = place.map(time.sleep, [0.0, 3600.0])
    assert next(done) == (0.0, None)
    os.kill(scheduler, signal.SIGKILL)
    with pytest.raises(BatchError, match="the Dask scheduler was lost"):
        next(done)


def test_deployment_of_a_prefect_server(repo: str, expected: dict[str, str], tmp_path: Path) -> None:
    schedules = tmp_path / "schedules.yaml"
    plan = {"cron": "0 9 * * *", "parameters": {"repo": repo, "instrument": testcam.NAME, "name": NAME}}
    schedules.write_text(yaml.safe_dump({FLOW: plan}))
    with processes.prefect_server(tmp_path) as server:
        environment = processes.flow_environment(**server)
        killed = kill_a_run(server, environment, tmp_path)
        deploy = [str(ROOT / "flows/prefect/register_flows.sh"), str(schedules), "tests"]
        assert f"{FLOW}/{FLOW}: runs in pool tests" in processes.run(deploy, environment, tmp_path)
        prefect = [processes.sys.executable, "-m", "prefect"]
        processes.run([*prefect, "deployment", "run", f"{FLOW}/{FLOW}"], environment, tmp_path)
        processes.run([*prefect, "worker", "start", "--pool", "tests", "--run-once"], environment, tmp_path)
        watches = ask(server, "automations/filter", {})
        artifacts = ask(server, "artifacts/filter", {})
        runs = ask(
            server, "flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ["COMPLETED", "FAILED"]}}}}
        )
        # The server waits for 90 s, for the most part while the deployment ran.
        processes.wait_for(lambda: state_of(server, killed) != "RUNNING", "the killed run runs for ever")
        assert state_of(server, killed) == "CRASHED"
    assert [one["state_type"] for one in runs] == ["COMPLETED"]
    assert {"Exposures", "Checks"} <= {one["description"] for one in artifacts if one["type"] == "table"}
    assert "progress" in {one["type"] for one in artifacts}
    # Also a run whose worker died with it is ended.
    (watch,) = watches
    assert watch["actions"][0]["state"] == "CRASHED"
    assert watch["trigger"]["within"] <= 120
    # The runs of others may send heartbeats less often.
    assert watch["trigger"]["match_related"]["prefect.resource.id"] == "prefect.tag.prompt-processing"
    assert checksums(repo) == expected


def kill_a_run(server: dict[str, str], environment: dict[str, str], folder: Path) -> str:
    """Kill a flow that runs from the command line, and return the id of its run."""
    script = [processes.sys.executable, str(Path(processes.__file__).with_name("waiting_flow.py"))]
    heartbeat = {"event": {"name": ["prefect.flow-run.heartbeat"]}}
    found: list[str] = []

    def heard() -> bool:
        assert flow.poll() is None, (folder / "killed.log").read_text()
        events = ask(server, "events/filter", {"filter": heartbeat})["events"]
        found.extend(event["resource"]["prefect.resource.id"].rpartition(".")[2] for event in events)
        return bool(found)

    with processes.started(script, environment, folder / "killed.log") as flow:
        processes.wait_for(heard, "the run sends no heartbeat")
        flow.send_signal(signal.SIGKILL)
        flow.wait()
    assert state_of(server, found[0]) == "RUNNING"
    return found[0]


def state_of(server: dict[str, str], run: str) -> str:
    (found,) = ask(server, "flow_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})
    return str(found["state_type"])


def ask(server: dict[str, str], path: str, question: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        f"{server['PREFECT_API_URL']}/{path}",
        json.dumps(question).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def test_a_killed_flow_is_continued_by_the_next(repo: str, expected: dict[str, str], tmp_path: Path) -> None:
    environment = processes.flow_environment()
    work = tmp_path / "work" / FLOW / NAME
    command = processes.prompt(*WORDS, "--repo", repo, "--work", str(tmp_path / "work"))
    with processes.started(command, environment, tmp_path / "flow.log") as flow:
        # The first task has ended, the next begins.
        processes.wait_for(
            lambda: (work / "findDefects").exists() or flow.poll() is not None, "nothing is made"
        )
        assert flow.poll() is None, (tmp_path / "flow.log").read_text()
        flow.send_signal(signal.SIGKILL)
    # The killed flow may have left a transaction, which a plain reader cannot roll back.
    with open_repository(repo) as butler:
        assert f"{testcam.NAME}/calib/{NAME}" not in butler.collections.query("*")

    processes.run(command, environment, tmp_path)
    assert checksums(repo) == expected
    (outcomes,) = (work / "combineBias").rglob("outcomes.jsonl")
    assert len(outcomes.read_text().splitlines()) == 1
    assert not list((tmp_path / "work" / FLOW).glob("unfinished-*.json"))
    # What ended well is not made again under the same name.
    refused = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert refused.returncode == 1
    assert "exists already" in refused.stderr
