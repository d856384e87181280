"""Environments of the notebook images, installed for real from a small index of wheels."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).parents[3] / "notebook-images"
SCRIPTS = ROOT / "common" / "common-scripts"

Run = Callable[..., subprocess.CompletedProcess[str]]

# uv is installed beside the interpreter, whether or not its environment is activated.
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def write_wheel(
    index: Path, name: str, version: str, code: str = "", needs: str = "", path: str = ""
) -> None:
    """Write a wheel of one module; `path` is a folder that it adds to the search path."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += f"Requires-Dist: {needs}\n" if needs else ""
    with zipfile.ZipFile(index / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        files = {
            f"{name}.py": code,
            f"{info}/METADATA": metadata,
            f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        if path:
            files[f"{name}.pth"] = path + "\n"
        for file, content in files.items():
            wheel.writestr(zipfile.ZipInfo(file), content)
        wheel.writestr(f"{info}/RECORD", "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"]))


def write_uv_settings(index: Path) -> Path:
    """Let uv know this index only."""
    path = index / "uv.toml"
    path.write_text(f"no-index = true\nfind-links = ['{index}']\n")
    return path


@pytest.fixture
def index(tmp_path: Path) -> Path:
    folder = tmp_path / "index"
    folder.mkdir()
    write_wheel(folder, "heron", "1.0", "colour = 'grey'")
    write_wheel(folder, "heron", "2.0", "colour = 'white'")
    write_wheel(folder, "marsh", "1.0", "import heron", needs="heron<2")
    write_wheel(folder, "pond", "1.0", "import missing_reed")
    # The kernel of the interpreter that runs the test.
    write_wheel(folder, "hostkernel", "1.0", path=sysconfig.get_path("purelib"))
    return folder


@pytest.fixture
def environments(tmp_path: Path) -> Path:
    folder = tmp_path / "environments"
    folder.mkdir()
    return folder


@pytest.fixture
def run(tmp_path: Path, index: Path, environments: Path) -> Run:
    def run_script(
        script: str, *arguments: str | Path, status: int = 0, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "PATH": PATH,
            "ENVIRONMENTS_DIR": str(environments),
            "ENVIRONMENT_PYTHON": sys.executable,
            "UV_CONFIG_FILE": str(write_uv_settings(index)),
            "UV_CACHE_DIR": str(tmp_path / "cache"),
            "HOME": str(tmp_path / "home"),
            "USE_FROZEN": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        done = subprocess.run(
            [sys.executable, str(SCRIPTS / script), *map(str, arguments)],
            check=False,
            capture_output=True,
            text=True,
            env={**environment, **variables},
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done

    return run_script


def write_list(folder: Path, name: str, *lines: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def write_notebook(path: Path, *cells: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {"name": "lake", "display_name": "lake", "language": "python"}
    nbformat.write(notebook, path)


def test_two_frozen_builds_are_identical_whatever_is_published_meanwhile(
    run: Run, environments: Path, index: Path
) -> None:
    spec = environments / "lake" / "lake.yml"
    write_list(spec.parent, "lake.yml", "dependencies:", "  - python", "  - pip:", "      - heron")
    run("env-create", "lake", spec)
    run("test-environments", "lake")
    frozen = (environments / "lake" / "lake-frozen.txt").read_text()
    assert "heron==2.0" in frozen
    assert "--hash=sha256:" in frozen
    assert "- heron==2.0" in (environments / "lake" / "lake-frozen.yml").read_text()
    write_wheel(index, "heron", "3.0")
    lists = []
    for _ in range(2):
        run("env-create", "lake", spec, USE_FROZEN="1")
        # Frozen environments are complete: further lists change nothing.
        run("env-update", "lake", write_list(environments / "lake", "more.pip", "marsh"), USE_FROZEN="1")
        lists.append(json.loads(run("dump-versions", USE_FROZEN="1").stdout))
    assert lists[0] == lists[1]
    assert lists[0]["environments"] == {"lake": {"heron": "2.0"}}
    assert (environments / "lake" / "lake-frozen.txt").read_text() == frozen
    run("env-create", "lake", spec)
    run("env-freeze", "lake")
    changed = environments / "new-frozen.txt"
    shutil.copy(environments / "lake" / "lake-frozen.txt", changed)
    write_list(environments, "old-frozen.txt", *frozen.splitlines())
    difference = run("env-diff", environments / "old-frozen.txt", changed, status=1).stdout
    assert difference == "heron rose from 2.0 to 3.0, a new major version.\n"


def test_differences_begin_with_those_that_break_most(run: Run, tmp_path: Path) -> None:
    small = [f"bird{number:02}==1.{number}" for number in range(9)]
    old = write_list(
        tmp_path, "old.txt", *small, "heron==2.0", "marsh==1.9 ; sys_platform == 'darwin'", "teal==3"
    )
    new = write_list(
        tmp_path, "new.txt", *(f"{one}.1" for one in small), "heron==1.9", "swan==1.0", "teal==3"
    )
    lines = run("env-diff", old, new, status=1).stdout.splitlines()
    assert lines[0] == "12 packages differ: 1 by a major version, 9 by less, 1 new, 1 removed."
    assert lines[2] == "heron fell from 2.0 to 1.9, an earlier major version."
    assert lines[3] == "bird00 rose from 1.0 to 1.0.1."
    assert lines[-2:] == ["swan 1.0 is new.", "marsh 1.9 was removed (only where sys_platform == 'darwin')."]


def test_a_changed_file_is_refused_by_its_hash(run: Run, environments: Path, index: Path) -> None:
    run("env-create", "lake", write_list(environments / "lake", "lake.pip", "heron"))
    run("env-freeze", "lake")
    write_wheel(index, "heron", "2.0", "colour = 'black'")
    cache = str(environments.parent / "empty-cache")
    refused = run("env-create", "lake", status=1, USE_FROZEN="1", UV_CACHE_DIR=cache).stderr
    assert "lake: uv pip sync failed" in refused
    assert "hash" in refused.lower()


def test_a_conflict_names_the_environment_and_the_packages(run: Run, environments: Path) -> None:
    run("env-create", "lake", write_list(environments / "lake", "lake.pip", "heron>=2"))
    refused = run(
        "env-update", "lake", write_list(environments / "lake", "more.pip", "marsh"), status=1
    ).stderr
    assert refused.startswith("env-update: lake: uv pip compile failed.")
    assert "heron" in refused
    assert "marsh" in refused


def test_broken_imports_and_failing_notebooks_are_named_and_nothing_is_frozen(
    run: Run, environments: Path
) -> None:
    common = environments.parent / "common"
    write_list(common, "kernel.pip", "hostkernel")
    run("env-create", "lake", write_list(environments / "lake", "lake.pip", "heron", "pond"))
    run("install-common", "lake", COMMON_ENV_DIR=str(common))
    tests = environments / "lake" / "tests"
    write_list(tests, "imports", "heron  # works", "pond")
    write_notebook(tests / "works.ipynb", "import heron", "assert heron.colour == 'white'")
    write_notebook(tests / "breaks.ipynb", "assert 1 == 2")
    printed = run("test-environments", status=1).stdout
    assert "ok     lake: import heron" in printed
    assert "FAILED lake: import pond ModuleNotFoundError: No module named 'missing_reed'" in printed
    assert "ok     lake: works.ipynb" in printed
    assert "FAILED lake: breaks.ipynb" in printed
    assert "FAILED environments: lake." in printed
    assert not (environments / "lake" / "lake-frozen.txt").exists()


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("lake.conda", ["cfitsio"]),
        ("lake.yml", ["channels: [conda-forge]", "dependencies:", "  - cfitsio", "  - pip: [heron]"]),
    ],
)
def test_packages_of_conda_are_refused_with_what_to_do(
    run: Run, environments: Path, name: str, lines: list[str]
) -> None:
    refused = run("env-create", "lake", write_list(environments / "lake", name, *lines), status=1).stderr
    assert name in refused
    assert "need micromamba and a channel" in refused
    assert ".pip file" in refused


def test_an_environment_without_frozen_list_says_how_to_make_one(run: Run) -> None:
    refused = run("env-create", "lake", status=1, USE_FROZEN="1").stderr
    assert "build it once with USE_FROZEN=0" in refused


def test_a_dated_build_asks_for_nothing_newer(run: Run, environments: Path, tmp_path: Path) -> None:
    real = shutil.which("uv", path=PATH)
    recorder = tmp_path / "bin" / "uv"
    recorder.parent.mkdir()
    recorder.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\nexec {real} "$@"\n')
    recorder.chmod(0o755)
    spec = write_list(environments / "lake", "lake.pip", "hostkernel")
    path = f"{recorder.parent}{os.pathsep}{PATH}"
    # The index of the test has no dates, hence nothing that is old enough for uv.
    run("env-create", "lake", FLOAT_DATE="2026-06-01", PATH=path)
    run("env-update", "lake", spec, PATH=path, FLOAT_DATE="")
    assert "--exclude-newer" not in (tmp_path / "calls").read_text()
    (tmp_path / "calls").unlink()
    subprocess.run(
        [sys.executable, str(SCRIPTS / "env-update"), "lake", str(spec)],
        check=False,
        capture_output=True,
        env={
            **os.environ,
            "ENVIRONMENTS_DIR": str(environments),
            "USE_FROZEN": "0",
            "FLOAT_DATE": "2026-06-01",
            "PATH": path,
            "UV_CONFIG_FILE": str(tmp_path / "index" / "uv.toml"),
        },
    )
    assert "--exclude-newer 2026-06-01" in (tmp_path / "calls").read_text()


def test_an_overlay_survives_a_new_image_and_keeps_the_images_versions(
    run: Run, environments: Path, tmp_path: Path, index: Path
) -> None:
    write_wheel(index, "own", "1.0", "import heron", needs="heron")
    run("env-create", "lake", write_list(environments / "lake", "lake.pip", "heron<2"))
    run("overlay", "create", "birds", "lake", "own")
    python = tmp_path / "home" / ".environment-overlays" / "birds" / "venv" / "bin" / "python"
    code = "import own, heron; print(heron.colour)"
    assert subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout == "grey\n"
    kernel = tmp_path / "home/.local/share/jupyter/kernels/mine-birds/kernel.json"
    assert json.loads(kernel.read_text())["display_name"] == "mine: birds"
    # Another image has another heron.
    run("env-create", "lake", write_list(environments / "lake", "lake.pip", "heron"))
    assert "overlay rebuild" in run("overlay", "list").stdout
    run("overlay", "rebuild")
    assert run("overlay", "list").stdout == "birds on lake: own\n"
    assert (
        subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout == "white\n"
    )
    assert "environment of the image" in run("overlay", "create", "lake", "lake", status=1).stderr
    run("overlay", "remove", "birds")
    assert run("overlay", "list").stdout == ""
    assert not kernel.exists()


def test_a_clone_has_the_packages_of_its_base_and_more(run: Run, environments: Path) -> None:
    run("env-create", "lake", write_list(environments / "lake", "lake.pip", "heron<2"))
    run("env-clone", "lake", "sea")
    run("env-update", "sea", write_list(environments / "sea", "sea.pip", "marsh"))
    found = json.loads(run("dump-versions").stdout)["environments"]
    assert found == {"lake": {"heron": "1.0"}, "sea": {"heron": "1.0", "marsh": "1.0"}}


def test_bill_of_materials_names_every_package_with_its_hashes(run: Run, environments: Path) -> None:
    run("env-create", "lake", write_list(environments / "lake", "lake.pip", "marsh"))
    variables = {"IMAGE_GIT_COMMIT": "1" * 40, "IMAGE_BUILD_DATE": "2026-06-01T00:00:00Z", "FLOAT_DATE": ""}
    text = run("dump-sbom", **variables).stdout
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    (lake,) = (one for one in bill["components"] if one["name"] == "lake")
    assert [one["purl"] for one in lake["components"]] == ["pkg:pypi/heron@1.0", "pkg:pypi/marsh@1.0"]
    frozen = (environments / "lake" / "venv" / "resolved.txt").read_text()
    for one in lake["components"]:
        assert all(found["value"] in frozen for found in one["properties"])
        assert one["properties"]
    needs = {one["ref"]: one["dependsOn"] for one in bill["dependencies"]}
    assert needs["lake/marsh"] == ["lake/heron"]
    assert bill["metadata"]["component"]["version"] == "1" * 40
    assert run("dump-sbom", **variables).stdout == text


def freeze(run: Run, environments: Path, name: str, *requirements: str) -> Path:
    """Return the frozen list of some requirements."""
    run("env-create", name, write_list(environments / name, f"{name}.pip", "hostkernel", *requirements))
    run("env-freeze", name)
    return environments / name / f"{name}-frozen.txt"


def test_change_that_broke_a_notebook_is_found_among_others(
    run: Run, environments: Path, index: Path, tmp_path: Path
) -> None:
    for version in ("1.0", "2.0"):
        write_wheel(index, "bittern", version)
    old = freeze(run, environments, "old", "bittern<2", "heron<2")
    new = freeze(run, environments, "new", "bittern", "heron")
    before, since = tmp_path / "before.ipynb", tmp_path / "since.ipynb"
    write_notebook(before, "assert 1 == 2, 'never'")
    write_notebook(since, "import bittern, heron", "assert heron.colour == 'grey', heron.colour")
    shown = run("env-diff", old, new, since, status=1).stdout
    assert "bittern rose from 1.0 to 2.0, a new major version.\n" in shown
    why = "heron rose from 1.0 to 2.0, a new major version: AssertionError: white"
    assert f"since.ipynb is broken, because {why}\n" in shown
    refused = run("env-diff", old, new, before, status=1).stderr
    assert "before.ipynb fails with the old packages, too: AssertionError: never" in refused
