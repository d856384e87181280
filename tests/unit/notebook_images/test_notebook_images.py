"""Commands that build, test and push notebook images, with a stand-in for the container engine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import nbformat
import papermill
import pytest

ROOT = Path(__file__).parents[3] / "notebook-images"

FAKE_ENGINE = """#!/bin/sh
[ "$1" = version ] && exit "${DAEMON:-0}"
echo "$1" >> "$CALLS"
echo "$(basename "$0") $*" >> "$CALLS.words"
case "$1" in
image | inspect) echo sha256:$(wc -l < "$IMAGES") ;;
from) echo working-container ;;
build) [ "$2" != "$FAIL" ] || exit 3; echo built >> "$IMAGES" ;;
run) exit "$TESTS" ;;
push) [ "$2" != "$UNREACHABLE" ] || exit 4 ;;
esac
"""
"""Docker, Podman or Buildah, by the name under which it is called."""


@pytest.fixture
def framework(tmp_path: Path) -> Path:
    """Return a copy of the framework beside a small project."""
    root = tmp_path / "project"
    shutil.copytree(ROOT, root / "notebook-images", ignore=shutil.ignore_patterns("build", "setup-env"))
    (root / "bin").mkdir()
    shutil.copy(ROOT.parent / "bin/_python", root / "bin")
    (root / "notebooks").mkdir()
    (root / "requirements.lock").write_text("heron==2.0 \\\n    --hash=sha256:00\n")
    extras = "".join(f'{name} = ["heron"]\n' for name in ("demo", "flows", "notebooks", "pages"))
    project = '[project]\nname = "x"\nversion = "1"\ndependencies = []\n[project.optional-dependencies]\n'
    (root / "pyproject.toml").write_text(project + extras)
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, text in (("docker", FAKE_ENGINE), ("uv", '#!/bin/sh\necho "$@" >"$CALLS.uv"\n')):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    (tmp_path / "images").touch()
    return root / "notebook-images"


def image(
    framework: Path, command: str, tests: int = 0, aliases: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    folder = framework.parents[1]
    environment = {
        **os.environ,
        "PATH": f"{folder / 'tools'}{os.pathsep}{os.environ['PATH']}",
        "CALLS": str(folder / "calls"),
        "IMAGES": str(folder / "images"),
        "TESTS": str(tests),
        "IMAGE_ALIASES": aliases,
        "CONTAINER_ENGINE": "docker",
        **variables,
    }
    return subprocess.run(
        [str(framework / command)], check=False, capture_output=True, text=True, env=environment
    )


def words(framework: Path) -> list[str]:
    """Return the engine's calls with their arguments."""
    return (framework.parents[1] / "calls.words").read_text().splitlines()


def calls(framework: Path) -> list[str]:
    return (framework.parents[1] / "calls").read_text().split()


def test_image_all_builds_tests_and_pushes_in_this_order(framework: Path) -> None:
    done = image(framework, "image-all")
    assert done.returncode == 0, done.stderr
    assert [call for call in calls(framework) if call != "image"] == ["build", "build", "run", "push"]
    dockerfile = (framework / "build/context/Dockerfile").read_text()
    assert dockerfile.index("env-create prompt") < dockerfile.index("USER jovyan")
    # With a Python that the project supports, not the machine's default or one that uv would download.
    python = re.search(r"--python (\S+)", (framework.parents[1] / "calls.uv").read_text())
    assert python is not None
    assert Path(python[1]).is_file()
    lock = framework.parent / "requirements.lock"
    prompt = framework / "build/context/deployment/environments/prompt/prompt-frozen.txt"
    assert prompt.read_text() == lock.read_text()


def test_tags_of_the_hubs_menu_are_moved_to_the_image_that_passed(framework: Path) -> None:
    done = image(framework, "image-all", aliases="weekly night-2026-05-31")
    assert done.returncode == 0, done.stderr
    assert calls(framework)[-4:] == ["tag", "push", "tag", "push"]
    repository = "localhost/prompt-notebooks"
    assert done.stdout.splitlines()[-2:] == [
        f"Pushed {repository}:weekly.",
        f"Pushed {repository}:night-2026-05-31.",
    ]


def test_nothing_is_pushed_that_failed_or_was_not_tested(framework: Path) -> None:
    assert image(framework, "image-all", tests=1).returncode != 0
    assert "push" not in calls(framework)
    refused = image(framework, "image-push")
    assert refused.returncode == 1
    assert "has not passed image-test" in refused.stderr
    # An image that is built after the test is another one.
    assert image(framework, "image-test").returncode == 0
    (framework.parents[1] / "images").write_text("other\nother\nother\n")
    refused = image(framework, "image-push")
    assert "is not the image that passed" in refused.stderr
    assert "push" not in calls(framework)


@pytest.mark.parametrize(
    "content",
    [
        "# public key: age1\nAGE-SECRET-KEY-1QQQQ\n",
        "-----BEGIN OPENSSH PRIVATE KEY-----\n",
        "password: ENC[AES256_GCM,data:x]\n",
        "--extra-index-url https://me:hunter2@pypi.example.org/simple\n",
        "AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n",
        f"token: ghp_{'a' * 36}\n",
    ],
)
def test_no_layer_gets_a_secret(framework: Path, content: str) -> None:
    (framework / "deployments/prompt/environments/base/notes.txt").write_text(content)
    refused = image(framework, "image-all")
    assert refused.returncode == 1
    assert "deployment/environments/base/notes.txt" in refused.stderr
    # The engine was asked for nothing, and nothing is left for it.
    assert not (framework.parents[1] / "calls").exists()
    assert not (framework / "build/context").exists()


def test_secrets_are_found_by_name_and_in_wheels_and_never_printed(framework: Path, tmp_path: Path) -> None:
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / ".netrc").write_text("nothing\n")
    (folder / "harmless.yaml").write_text(
        "url: https://USER:...@example.org, s3://bucket, a@b.org, ${X}:{y}@z\n"
    )
    with zipfile.ZipFile(folder / "own.whl", "w") as wheel:
        wheel.writestr("own/settings.py", f"KEY = '{'AKIA' + 'A' * 16}'")
    found = subprocess.run([framework / "find-secrets", folder], check=False, capture_output=True, text=True)
    assert found.returncode == 1
    assert found.stdout.splitlines() == [".netrc", "own.whl"]
    assert "AKIA" not in found.stdout + found.stderr


@pytest.mark.parametrize("engine", ["docker", "podman", "buildah"])
def test_each_engine_is_called_as_it_expects(framework: Path, engine: str) -> None:
    tools = framework.parents[1] / "tools"
    (tools / "docker").rename(tools / "engine")
    (tools / engine).symlink_to("engine")
    done = image(framework, "image-all", CONTAINER_ENGINE=engine, BUILD_OPTIONS="--isolation chroot")
    assert done.returncode == 0, done.stderr
    context = framework / "build/context"
    repository = "localhost/prompt-notebooks"
    layers = " --layers" if engine == "buildah" else ""
    said = words(framework)
    options = f"{engine} build --isolation chroot{layers} --tag"
    assert (
        said[0] == f"{options} localhost/notebook-common:latest --file {context}/common/Dockerfile {context}"
    )
    assert said[1].startswith(f"{options} {repository}:latest --file {context}/Dockerfile --build-arg ")
    assert said[1].endswith(f" {context}")
    script = said[3 if engine == "buildah" else 2].partition(" sh -c ")
    if engine == "buildah":
        assert said[2] == f"buildah from {repository}:latest"
        expected = (
            f"buildah run --isolation chroot --volume {framework}/build/frozen:/frozen working-container --"
        )
        assert "buildah rm working-container" in said
        looked = "buildah inspect --type image --format {{.FromImageID}} "
    else:
        expected = f"{engine} run --rm --volume {framework}/build/frozen:/frozen {repository}:latest"
        looked = f"{engine} image inspect --format {{{{.Id}}}} "
    assert script[0] == expected
    assert script[2].startswith("/opt/environments/test && ")
    assert [call for call in said if call.startswith(looked)] == [f"{looked}{repository}:latest"] * 2
    assert said[-1] == f"{engine} push {repository}:latest"


def test_engine_without_a_server_is_passed_over(framework: Path) -> None:
    tools = framework.parents[1] / "tools"
    (tools / "docker").write_text("#!/bin/sh\nexit 1\n")
    (tools / "podman").write_text(FAKE_ENGINE)
    (tools / "podman").chmod(0o755)
    assert image(framework, "image-all", CONTAINER_ENGINE="").returncode == 0
    assert words(framework)[-1].startswith("podman push ")
    refused = image(framework, "image-all", CONTAINER_ENGINE="nerdctl")
    assert "CONTAINER_ENGINE is nerdctl, which is not installed" in refused.stderr


def test_build_that_fails_leaves_nothing_to_push(framework: Path) -> None:
    assert image(framework, "image-all").returncode == 0
    before = calls(framework).count("push")
    failed = image(framework, "image-all", FAIL="--tag")
    assert failed.returncode == 3
    assert calls(framework).count("push") == before
    assert "has not passed image-test" in image(framework, "image-push").stderr


def test_push_that_fails_moves_no_further_tag(framework: Path) -> None:
    repository = "localhost/prompt-notebooks"
    failed = image(framework, "image-all", aliases="weekly recommended", UNREACHABLE=f"{repository}:weekly")
    assert failed.returncode == 4
    assert f"Pushed {repository}:latest." in failed.stdout
    assert "weekly." not in failed.stdout
    assert not [call for call in words(framework) if "recommended" in call]


def test_frozen_image_has_the_newest_of_its_commit(framework: Path) -> None:
    date = "2026-06-01T02:03:04Z"
    identity = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
    variables = {**os.environ, "GIT_COMMITTER_DATE": date, "GIT_AUTHOR_DATE": date}
    for command in (["init", "--quiet"], [*identity, "commit", "--quiet", "--allow-empty", "-m", "Begin"]):
        subprocess.run(["git", "-C", framework.parent, *command], check=True, env=variables)
    for frozen, asked, expected in (("1", "", date), ("1", "2026-05-01", "2026-05-01"), ("0", "", "")):
        assert image(framework, "image-build", USE_FROZEN=frozen, FLOAT_DATE=asked).returncode == 0
        build = words(framework)[-1]
        assert f"--build-arg USE_FROZEN={frozen} --build-arg FLOAT_DATE={expected} " in build


def test_floating_image_that_passes_gives_its_lists_to_the_deployment(framework: Path) -> None:
    # What the tests in the container leave: lists of environments, that of the night among them.
    engine = framework.parents[1] / "tools" / "docker"
    lists = f'for one in base prompt; do echo new > "{framework}/build/frozen/$one-frozen.txt"; done'
    engine.write_text(FAKE_ENGINE.replace("run) ", f"run) {lists}; "))
    deployed = framework / "deployments/prompt/environments/base/base-frozen.txt"
    before = deployed.read_text()
    assert image(framework, "image-build", USE_FROZEN="0").returncode == 0
    assert image(framework, "image-test", tests=1, USE_FROZEN="0").returncode == 1
    assert image(framework, "image-test", USE_FROZEN="1").returncode == 0
    assert deployed.read_text() == before
    assert image(framework, "image-test", USE_FROZEN="0").returncode == 0
    assert deployed.read_text() == "new\n"
    assert not (framework / "deployments/prompt/environments/prompt/prompt-frozen.txt").exists()


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"DEPLOYMENT": "nowhere"}, "DEPLOYMENT is nowhere, but there is no folder"),
        ({"DEPLOYMENT": "a b"}, "DEPLOYMENT is a b, but there is no folder"),
        ({"USE_FROZEN": "yes"}, "USE_FROZEN is yes: it is 1 or 0."),
    ],
)
def test_wrong_setting_is_refused_by_name(framework: Path, variables: dict[str, str], reason: str) -> None:
    refused = image(framework, "image-all", **variables)
    assert refused.returncode == 1
    assert reason in refused.stderr
    assert not (framework.parents[1] / "calls").exists()


@pytest.mark.parametrize("environment", ["base", "prompt-analysis", "floating"])
def test_what_an_image_is_tested_for_is_in_its_lists(tmp_path: Path, environment: str) -> None:
    deployment = ROOT / "deployments/prompt"
    subprocess.run([ROOT / "project-requirements", tmp_path / "project"], check=True)
    steps = (deployment / "Dockerfile.custom").read_text()
    added = re.findall(rf"env-update {environment} /opt/environments/(\S+)", steps)
    lists = [
        tmp_path / one if one.startswith("project/") else deployment / "environments" / one for one in added
    ]
    if re.search(rf"install-common {environment}\b", steps):
        lists += (ROOT / "common/common-env").glob("*.pip")
    wanted = {
        re.match(r"[\w.-]+", line)[0].lower().replace("_", "-")  # type: ignore[index]
        for path in lists
        for line in path.read_text().splitlines()
        if line and not line.startswith("#")
    }
    tests = (deployment / "environments" / environment / "tests/imports").read_text().splitlines()
    modules = {
        line.partition(".")[0].replace("_", "-") for line in tests if line and not line.startswith("#")
    }
    # The project itself is installed from its wheel.
    assert modules - {"prompt-processing"} <= wanted


def test_notebook_that_images_are_tested_with_ends_here(tmp_path: Path) -> None:
    notebooks = {
        (tests.parent / line).resolve()
        for tests in ROOT.glob("deployments/*/environments/*/tests/notebooks")
        for line in tests.read_text().split()
    }
    assert notebooks == {path.resolve() for path in ROOT.glob("deployments/**/*.ipynb")}
    for path in notebooks:
        papermill.execute_notebook(path, tmp_path / path.name, cwd=tmp_path, progress_bar=False)
        cells = nbformat.read(tmp_path / path.name, as_version=4).cells
        assert any("image/png" in out.get("data", {}) for cell in cells for out in cell.get("outputs", []))
