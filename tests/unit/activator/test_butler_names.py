from __future__ import annotations

import re
from pathlib import Path

import butler_world as world
import pytest

from prompt_processing.activator.services.pipeline_library import pipeline_stem
from prompt_processing.activator.storage.collections import NO_PIPELINE, Collections
from prompt_processing.activator.storage.deployment import deployment_id


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
