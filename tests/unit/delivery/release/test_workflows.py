"""The workflows: valid, pinned, with few rights, and made of scripts that also run by hand."""

import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from prompt_processing.services.checking_tools import CheckingTools
from prompt_processing.services.installation import MissingSoftwareError

PROJECT = Path(__file__).parents[4]
FILES = sorted((PROJECT / ".github" / "workflows").glob("*.yaml"))
SCRIPT = re.compile(r"(bin|\.ci)/[a-z-]+")


def workflow(path: Path) -> dict[str, Any]:
    return yaml.load(path.read_text("utf-8"), Loader=yaml.BaseLoader)


def jobs(path: Path) -> dict[str, dict[str, Any]]:
    return workflow(path)["jobs"]


def steps() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in FILES:
        for job in jobs(path).values():
            for step in job["steps"]:
                yield path.name, step


def test_the_workflows_of_the_playbook_are_there() -> None:
    assert {path.stem for path in FILES} >= {
        "ci",
        "build-base",
        "build-service",
        "ci-release",
        "publish-charts",
        "publish-package",
        "nightly",
    }


def test_actionlint_has_nothing_to_say() -> None:
    try:
        actionlint = CheckingTools().actionlint().path
    except MissingSoftwareError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    done = subprocess.run(
        [actionlint, "-no-color", *map(str, FILES)], capture_output=True, text=True, cwd=PROJECT, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_actions_are_pinned_by_digest() -> None:
    used = [(name, step["uses"]) for name, step in steps() if "uses" in step]
    assert used
    assert [each for each in used if not re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", each[1])] == []


def test_steps_run_a_script_and_nothing_else() -> None:
    ran = [(name, step["run"]) for name, step in steps() if "run" in step]
    assert ran
    for name, command in ran:
        script, *arguments = command.split()
        assert SCRIPT.fullmatch(script), (name, command)
        assert os.access(PROJECT / script, os.X_OK), (name, script)
        # What an expression expands to would be read by the shell: it comes by the environment.
        assert "${{" not in command, (name, command)
        assert all(re.fullmatch(r'"\$[A-Z_]+"|--[a-z-]+', each) for each in arguments), (name, command)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_rights_are_named_and_writing_is_rare(path: Path) -> None:
    rights = workflow(path)["permissions"]
    assert rights["contents"] == "read"
    assert set(rights) <= {"contents", "packages"}
    for name, job in jobs(path).items():
        if job.get("permissions", {}).get("contents") == "write":
            assert (path.stem, name) in {("ci-release", "release"), ("dependencies", "lock")}
        if "id-token" in job.get("permissions", {}):
            # To publish on PyPI, and to sign images.
            assert (path.stem, name) in {
                ("publish-package", "publish"),
                ("build-service", "service"),
                ("ci-release", "release"),
            }
    assert all("timeout-minutes" in job for job in jobs(path).values())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_workflow_runs_a_forks_code_with_our_secrets(path: Path) -> None:
    assert "pull_request_target" not in workflow(path)["on"]


def test_base_is_built_by_hand_with_label_and_box() -> None:
    inputs = workflow(PROJECT / ".github/workflows/build-base.yaml")["on"]["workflow_dispatch"]["inputs"]
    assert inputs["stack"]["type"] == "string"
    assert inputs["latest"]["type"] == "boolean"


def test_long_profiles_run_every_night() -> None:
    text = workflow(PROJECT / ".github/workflows/nightly.yaml")
    assert text["on"]["schedule"]
    (job,) = text["jobs"].values()
    script = (PROJECT / ".ci/nightly").read_text("utf-8")
    assert job["strategy"]["matrix"]["part"] == re.findall(r"^    (\w+)\)", script, re.MULTILINE)
    assert "HYPOTHESIS_PROFILE=nightly" in script
    assert "PROMPT_FAULTS=long" in script


def test_every_camera_of_the_demo_is_judged_in_ci_and_every_night() -> None:
    cameras = {"LSSTCam", "LATISS", "HSC"}
    nightly = set(re.findall(r"demo_seeds (\w+) ;;", (PROJECT / ".ci/nightly").read_text("utf-8")))
    runs = re.findall(r"bin/demo\".*", (PROJECT / ".ci/run").read_text("utf-8"))
    assert nightly == cameras
    assert {
        match for run in runs for match in re.findall(r"--instrument (\w+)", run) or ["LSSTCam"]
    } == cameras


def test_compiled_code_is_run_with_bounds_checks() -> None:
    assert "NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=" in (PROJECT / ".ci/run").read_text("utf-8")


def test_night_that_fails_on_a_seed_fails_the_workflow_after_all_seeds(tmp_path: Path) -> None:
    """With a demo that fails on one seed."""
    (tmp_path / "bin").mkdir()
    (tmp_path / ".ci").mkdir()
    shutil.copy(PROJECT / ".ci/nightly", tmp_path / ".ci/nightly")
    demo = tmp_path / "bin/demo"
    demo.write_text('#!/bin/sh\necho "$@"\n! echo "$@" | grep -q "seed 3 "\n', "utf-8")
    demo.chmod(0o755)
    environment = {**os.environ, "PART": "LATISS"}
    done = subprocess.run(
        [tmp_path / ".ci/nightly"], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 1
    assert done.stdout.count("--instrument LATISS --visits 2 --seed") == 10
    assert "LATISS: the demo failed on the seeds 3." in done.stderr


def test_service_is_built_on_latest_unless_a_branch_says_otherwise() -> None:
    text = workflow(PROJECT / ".github/workflows/build-service.yaml")
    assert text["env"]["BASE_TAG_LIST"].split()[0] == "latest"
    assert {"pull_request", "workflow_dispatch"} <= set(text["on"])


def test_release_goes_to_two_registries() -> None:
    (job,) = jobs(PROJECT / ".github/workflows/ci-release.yaml").values()
    assert re.findall(r"[a-z.]+\.io", job["env"]["CONTAINER_REGISTRIES"]) == ["ghcr.io", "docker.io"]


def test_package_is_published_without_a_password_and_with_attestations() -> None:
    publish = jobs(PROJECT / ".github/workflows/publish-package.yaml")["publish"]
    assert publish["permissions"] == {"contents": "read", "id-token": "write"}
    assert publish["environment"]["name"] == "pypi"
    (upload,) = [step for step in publish["steps"] if step["uses"].startswith("pypa/gh-action-pypi-publish@")]
    assert upload["with"] == {"attestations": "true"}
    assert "secrets." not in (PROJECT / ".github/workflows/publish-package.yaml").read_text("utf-8")


def test_every_supported_python_is_tested() -> None:
    with (PROJECT / "pyproject.toml").open("rb") as file:
        lowest, above = re.findall(r"3\.(\d+)", tomllib.load(file)["project"]["requires-python"])
    tested = jobs(PROJECT / ".github/workflows/ci.yaml")["check"]["strategy"]["matrix"]["python"]
    assert tested == [f"3.{minor}" for minor in range(int(lowest), int(above))]


@pytest.mark.parametrize(
    "script", sorted((PROJECT / "bin").iterdir()) + sorted((PROJECT / ".ci").iterdir()), ids=str
)
def test_scripts_can_be_read_by_bash(script: Path) -> None:
    bash = shutil.which("bash")
    assert bash is not None
    done = subprocess.run([bash, "-n", str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_images_are_signed_after_they_were_published_and_only_from_main_or_a_tag() -> None:
    (step,) = (
        step
        for step in jobs(PROJECT / ".github/workflows/build-service.yaml")["service"]["steps"]
        if step.get("run") == ".ci/build-service"
    )
    assert step["env"]["SIGN"] == "${{ github.ref == 'refs/heads/main' }}"
    for name, last in ((".ci/build-service", "build-pages"), (".ci/release", "build-pages")):
        script = (PROJECT / name).read_text("utf-8")
        assert script.index(".ci/sign") > script.rindex(last)
