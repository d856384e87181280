from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import butler_world as world
import pytest

from prompt_processing.butler.collections import NO_PIPELINE, Collections
from prompt_processing.butler.deployment import deployment_id
from prompt_processing.butler.pipelines.library import pipeline_stem


def test_collections_have_the_names_of_the_contract() -> None:
    collections = Collections("LATISS")
    assert collections.defaults == "LATISS/defaults"
    assert collections.unbounded_calib == "LATISS/calib/unbounded"
    assert collections.raw == "LATISS/raw/all"
    assert (
        collections.output_run("2025-06-09", NO_PIPELINE, "pipelines-0-config-0")
        == "LATISS/prompt/output-2025-06-09/NoPipeline/pipelines-0-config-0"
    )


@pytest.mark.parametrize("path", ["/a/ApPipe.yaml", "ApPipe.yaml#prompt", "file:///a/ApPipe.yaml"])
def test_run_is_named_after_the_stem_of_the_pipeline_file(path: str) -> None:
    assert pipeline_stem(path) == "ApPipe"


def test_deployment_id_tells_pipelines_and_apdb_apart(tmp_path: Path) -> None:
    paths = world.write_pipelines(tmp_path / "here")
    elsewhere = world.write_pipelines(tmp_path / "there")
    same = deployment_id(paths.values(), "s3://apdb")
    assert re.fullmatch(r"pipelines-[0-9a-f]{7}-config-[0-9a-f]{7}", same)
    # Where the files are does not matter, nor in which order they are named.
    assert deployment_id(reversed(elsewhere.values()), "s3://apdb") == same
    other_apdb = deployment_id(paths.values(), "s3://other")
    assert other_apdb.split("-config-")[0] == same.split("-config-")[0]
    assert other_apdb != same
    Path(paths["Isr"]).write_text("description: other\ntasks:\n  other: butler_world.IsrTask\n")
    assert deployment_id(paths.values(), "s3://apdb").split("-config-")[0] != same.split("-config-")[0]


def test_processes_of_one_deployment_agree_on_its_id(tmp_path: Path) -> None:
    path = tmp_path / "ApPipe.yaml"
    tasks = [f"task{number}" for number in range(8)]
    path.write_text(
        "description: x\ntasks:\n"
        + "".join(f"  {task}: butler_world.IsrTask\n" for task in tasks)
        + f"subsets:\n  prompt:\n    subset: [{', '.join(tasks)}]\n"
    )
    code = "import sys\nfrom prompt_processing.butler.deployment import deployment_id\n"
    code += "print(deployment_id(sys.argv[1:], 's3://apdb'))"

    def told(seed: str) -> str:
        environment = os.environ | {"PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    assert {told(seed) for seed in ("1", "2", "3")} == {deployment_id([str(path)], "s3://apdb")}
