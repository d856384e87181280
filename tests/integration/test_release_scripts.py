"""What the workflows' scripts do, with stand-ins for the programs that build and publish."""

import os
import subprocess
from pathlib import Path

import pytest

from prompt_delivery.release.recorded_versions import recorded_versions

pytestmark = pytest.mark.integration

PROJECT = Path(__file__).parents[2]
VERSIONS = recorded_versions(PROJECT)
NEVER_RELEASED = "987.0.0"

STAND_IN = """#!/bin/bash
echo "$(basename "$0") $*" >>"$CALLS"
case "$*" in
    login* | "registry login"*) [[ $(cat) == secret ]] || exit 9 ;;
    *--format*stack*) echo "$STACK_OF_BASE" ;;
    "release view"*) exit 1 ;;
    "push --digestfile"*) echo sha256:0123 >"$3" ;;
    package*) touch "${@: -1}/$(basename "$2")-$4.tgz" ;;
esac
"""


class Calls:
    """Programs that only tell how they were called."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "calls"
        self.published = folder / "published"
        self.programs = folder / "programs"
        self.programs.mkdir()
        for name in ("buildah", "gh", "helm"):
            program = self.programs / name
            program.write_text(STAND_IN)
            program.chmod(0o755)

    def run(self, *command: str, **environment: str) -> list[str]:
        self.log.write_text("")
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("GITHUB_", "REGISTRY_", "CONTAINER_", "BASE_TAG"))
        }
        done = subprocess.run(
            [str(PROJECT / command[0]), *command[1:]],
            env={
                **inherited,
                "PATH": f"{self.programs}:{os.environ['PATH']}",
                "CALLS": str(self.log),
                "CONTAINERS_PUBLISHED": str(self.published),
                "STACK_OF_BASE": VERSIONS.stack.name,
                # What is tested need not be on main.
                "RELEASE_BRANCH": "",
                **environment,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stderr)
        return self.log.read_text().splitlines()


@pytest.fixture
def calls(tmp_path: Path) -> Calls:
    return Calls(tmp_path)


def pushed(lines: list[str]) -> list[str]:
    return [line.split()[-1] for line in lines if line.startswith("buildah push")]


def tagged(lines: list[str]) -> list[str]:
    return [line.split()[-1] for line in lines if line.startswith("buildah tag")]


def test_release_publishes_all_containers_in_both_registries_once_all_are_built(calls: Calls) -> None:
    version = NEVER_RELEASED
    lines = calls.run(
        ".ci/release",
        version,
        CONTAINER_REGISTRIES="ghcr.io/lsst-dm docker.io/lsstdm",
        REGISTRY_LOGINS="ghcr.io docker.io",
        REGISTRY_USER_GHCR_IO="user",
        REGISTRY_PASSWORD_GHCR_IO="secret",
        REGISTRY_USER_DOCKER_IO="user",
        REGISTRY_PASSWORD_DOCKER_IO="secret",
    )
    assert pushed(lines) == [
        f"{registry}/{name}:{version}"
        for name in ("prompt-base", "prompt-service", "prompt-board", "prompt-navigator")
        for registry in ("ghcr.io/lsst-dm", "docker.io/lsstdm")
    ]
    # What is signed afterwards.
    assert calls.published.read_text().split() == [
        image.replace(f":{version}", "@sha256:0123") for image in pushed(lines)
    ]
    builds = [index for index, line in enumerate(lines) if line.startswith("buildah build")]
    pushes = [index for index, line in enumerate(lines) if line.startswith("buildah push")]
    assert len(builds) == 4
    assert all(f"org.opencontainers.image.version={version}" in lines[index] for index in builds)
    assert f"--build-arg VERSION={version}" in lines[builds[1]]
    assert max(builds) < min(pushes)
    assert lines[-1].startswith(f"gh release create {version} --verify-tag")
    assert not any("secret " in line or line.endswith("secret") for line in lines if "--secret" not in line)


def test_release_that_may_not_be_made_builds_nothing(calls: Calls) -> None:
    with pytest.raises(RuntimeError, match=r"no v at the beginning: 987\.0\.0"):
        calls.run(".ci/release", f"v{NEVER_RELEASED}")
    assert calls.log.read_text() == ""


def test_release_of_another_branchs_commit_builds_nothing(calls: Calls) -> None:
    with pytest.raises(RuntimeError, match="not on releases/0"):
        calls.run(".ci/release", NEVER_RELEASED, RELEASE_BRANCH="releases/0")
    assert calls.log.read_text() == ""


def test_release_without_the_logins_publishes_nothing(calls: Calls) -> None:
    with pytest.raises(RuntimeError, match="REGISTRY_USER_GHCR_IO and REGISTRY_PASSWORD_GHCR_IO must be set"):
        calls.run(".ci/release", NEVER_RELEASED, REGISTRY_LOGINS="ghcr.io")
    assert calls.log.read_text() == ""


def test_pull_requests_service_is_built_on_latest_under_its_tickets_tags(calls: Calls) -> None:
    lines = calls.run(
        ".ci/build-service",
        GITHUB_EVENT_NAME="pull_request",
        GITHUB_HEAD_REF="tickets/DM-12345",
        GITHUB_REF_NAME="7/merge",
        PUBLISH="false",
    )
    build, board, navigator = [line for line in lines if line.startswith("buildah build")]
    assert "--build-arg BASE_TAG=latest" in build
    assert "--label org.opencontainers.image.revision=" in build
    assert all("SERVICE_IMAGE=localhost/prompt-service:DM-12345-latest" in one for one in (board, navigator))
    assert tagged(lines) == [
        "localhost/prompt-service:DM-12345-latest",
        f"localhost/prompt-service:DM-12345-{VERSIONS.stack.name}",
        "localhost/prompt-board:DM-12345-latest",
        "localhost/prompt-navigator:DM-12345-latest",
    ]
    assert pushed(lines) == []


def test_service_of_main_is_built_on_every_base_of_the_list(calls: Calls) -> None:
    lines = calls.run(
        ".ci/build-service",
        GITHUB_EVENT_NAME="push",
        GITHUB_REF_NAME="main",
        BASE_TAG_LIST="latest w_2026_30",
    )
    assert tagged(lines) == [
        *("localhost/prompt-service:latest", "localhost/prompt-service:w_2026_30"),
        *("localhost/prompt-board:latest", "localhost/prompt-navigator:latest"),
    ]


def test_base_of_a_branch_is_refused_on_main(calls: Calls) -> None:
    with pytest.raises(RuntimeError, match="must not be merged"):
        calls.run(
            ".ci/build-service",
            GITHUB_EVENT_NAME="push",
            GITHUB_REF_NAME="main",
            BASE_TAG_LIST="DM-12345-latest",
        )


def test_automatic_base_of_main_is_latest(calls: Calls) -> None:
    lines = calls.run(".ci/build-base", GITHUB_EVENT_NAME="push", GITHUB_REF_NAME="main", LATEST="false")
    names = [VERSIONS.stack.name, "latest"]
    assert tagged(lines) == [f"localhost/prompt-base:{name}" for name in names]
    (build,) = [line for line in lines if line.startswith("buildah build")]
    assert f"--label org.lsst.prompt-processing.stack={VERSIONS.stack.name}" in build
    assert "--secret id=pip.conf" in build


def test_charts_are_published_with_the_version_of_the_containers(calls: Calls) -> None:
    lines = calls.run(
        "bin/publish-charts",
        "--push",
        "2.0.0rc1",
        CHART_REGISTRY="oci://ghcr.io/lsst-dm/charts",
        REGISTRY_USER_GHCR_IO="user",
        REGISTRY_PASSWORD_GHCR_IO="secret",
    )
    packaged = [line for line in lines if line.startswith("helm package")]
    assert all("--version 2.0.0-rc1 " in line for line in packaged)
    (worker,) = [line for line in packaged if "prompt-proto-service" in line]
    assert "--app-version 2.0.0rc1" in worker
    # The library is in the others, and not a chart to install.
    assert not [line for line in packaged if "prompt-common" in line]
    published = [line for line in lines if line.startswith("helm push")]
    assert len(published) == len(packaged)
    assert all(line.endswith("oci://ghcr.io/lsst-dm/charts") for line in published)
