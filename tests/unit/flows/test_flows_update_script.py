"""The script that puts new code to work on a site takes its steps in order until one fails."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
IMAGE = "registry.example.org/prompt-flows:2026-11-28"


class Site:
    """A checkout whose other scripts, and a machine whose programs, only note how they are called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.noted = folder / "noted"
        self.script = folder / "checkout" / "flows" / "scripts" / "build_and_update.sh"
        self.script.parent.mkdir(parents=True)
        shutil.copy(ROOT / "flows" / "scripts" / "build_and_update.sh", self.script)
        (folder / "checkout" / "infra" / "dask").mkdir(parents=True)
        for name in (
            "infra/docker/docker_build.sh",
            "infra/docker/docker_push.sh",
            "flows/prefect/register_flows.sh",
        ):
            self.program(folder / "checkout" / name)
        for name in ("docker", "ssh", "python", "buildah"):
            self.program(folder / "bin" / name)

    def program(self, path: Path, status: int = 0) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            f'#!/bin/sh\necho "${{0##*/}} $* [$WM_DATA_PIPELINE_IMAGE]" >>{self.noted}\nexit {status}\n'
        )
        path.chmod(0o755)

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("WM_", "DASK_"))}
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        environment = {**kept, "PATH": path, **variables}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def steps(self) -> list[str]:
        return self.noted.read_text().splitlines() if self.noted.exists() else []


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


SITE = {"WM_DATA_PIPELINE_IMAGE": IMAGE, "WM_DASK_SCHEDULER": "tcp://dask:8786"}


def test_image_is_pushed_before_the_cluster_restarts_and_flows_are_registered_last(site: Site) -> None:
    assert site.run("bash", str(site.script), "schedules.yaml", "night", **SITE).returncode == 0
    check = f"python {site.folder}/checkout/infra/dask/dask_test.py"
    assert site.steps() == [
        f"docker_build.sh  [{IMAGE}]",
        f"docker_push.sh  [{IMAGE}]",
        f"docker compose pull --quiet [{IMAGE}]",
        f"docker compose up --detach --wait --force-recreate [{IMAGE}]",
        f"{check} [{IMAGE}]",
        f"register_flows.sh schedules.yaml night [{IMAGE}]",
    ]


def test_each_host_restarts_with_the_new_image(site: Site) -> None:
    result = site.run("bash", str(site.script), "s.yaml", **SITE, DASK_SWARM_HOSTS="one two")
    assert result.returncode == 0
    hosts = [step for step in site.steps() if step.startswith("ssh")]
    assert [step.split()[1] for step in hosts] == ["one", "two"]
    assert all(f"export WM_DATA_PIPELINE_IMAGE='{IMAGE}' && docker compose pull" in step for step in hosts)
    assert site.steps()[-1].startswith("register_flows.sh s.yaml day")


@pytest.mark.parametrize(("failing", "last"), [("bin/python", "python"), ("bin/docker", "docker")])
def test_flows_are_not_registered_for_a_cluster_that_is_refused(site: Site, failing: str, last: str) -> None:
    site.program(site.folder / failing, status=1)
    assert site.run("bash", str(site.script), "s.yaml", **SITE).returncode != 0
    assert site.steps()[-1].startswith(last)


@pytest.mark.parametrize("absent", sorted(SITE))
def test_absent_variable_is_named_before_anything_is_done(site: Site, absent: str) -> None:
    result = site.run("bash", str(site.script), "s.yaml", **{k: v for k, v in SITE.items() if k != absent})
    assert result.returncode != 0
    assert absent in result.stderr
    assert site.steps() == []


def test_push_takes_the_image_of_the_build(site: Site) -> None:
    push = str(ROOT / "infra" / "docker" / "docker_push.sh")
    assert site.run("bash", push, WM_DATA_PIPELINE_IMAGE=IMAGE).returncode == 0
    assert site.steps() == [f"buildah push {IMAGE} [{IMAGE}]"]
    assert "names the image" in site.run("bash", push).stderr
