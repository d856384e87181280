"""Commands that build, test and push notebook images, with a stand-in for the container engine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import nbformat
import papermill
import pytest

ROOT = Path(__file__).parents[3] / "notebook-images"

FAKE_ENGINE = """#!/bin/sh
echo "$1" >> "$CALLS"
case "$1" in
image) echo sha256:$(wc -l < "$IMAGES") ;;
build) echo built >> "$IMAGES" ;;
run) exit "$TESTS" ;;
esac
"""


@pytest.fixture
def framework(tmp_path: Path) -> Path:
    """Return a copy of the framework beside a small project."""
    root = tmp_path / "project"
    shutil.copytree(ROOT, root / "notebook-images", ignore=shutil.ignore_patterns("build", "setup-env"))
    (root / "notebooks").mkdir()
    (root / "requirements.lock").write_text("heron==2.0 \\\n    --hash=sha256:00\n")
    extras = "".join(f'{name} = ["heron"]\n' for name in ("demo", "flows", "notebooks", "pages"))
    project = '[project]\nname = "x"\nversion = "1"\ndependencies = []\n[project.optional-dependencies]\n'
    (root / "pyproject.toml").write_text(project + extras)
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, text in (("docker", FAKE_ENGINE), ("uv", "#!/bin/sh\nexit 0\n")):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    (tmp_path / "images").touch()
    return root / "notebook-images"


def image(
    framework: Path, command: str, tests: int = 0, aliases: str = ""
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
    }
    return subprocess.run(
        [str(framework / command)], check=False, capture_output=True, text=True, env=environment
    )


def calls(framework: Path) -> list[str]:
    return (framework.parents[1] / "calls").read_text().split()


def test_image_all_builds_tests_and_pushes_in_this_order(framework: Path) -> None:
    done = image(framework, "image-all")
    assert done.returncode == 0, done.stderr
    assert [call for call in calls(framework) if call != "image"] == ["build", "build", "run", "push"]
    dockerfile = (framework / "build/context/Dockerfile").read_text()
    assert dockerfile.index("env-create prompt") < dockerfile.index("USER jovyan")
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
