"""Overlays: packages of one's own in the home folder, on an environment of the image."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from notebook_wheels import Run, write_list, write_wheel


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


def test_overlay_has_only_what_the_environment_lacks(
    run: Run, environments: Path, tmp_path: Path, index: Path
) -> None:
    write_wheel(index, "own", "1.0", "import heron, marsh", needs="marsh")
    run("env-create", "lake", write_list(environments / "lake", "lake.pip", "heron<2", "hostkernel"))
    run("overlay", "create", "birds", "lake", "own")
    (site,) = (tmp_path / "home/.environment-overlays/birds/venv/lib").glob("python*/site-packages")
    assert {path.stem.partition("-")[0] for path in site.glob("*.dist-info")} == {"own", "marsh"}
    # The kernel of the environment, which a .pth file there makes available.
    python = site.parents[2] / "bin" / "python"
    subprocess.run([python, "-c", "import own, ipykernel"], check=True)


def test_overlay_of_an_equal_image_is_current(run: Run, environments: Path) -> None:
    spec = write_list(environments / "lake", "lake.pip", "heron<2")
    run("env-create", "lake", spec)
    run("overlay", "create", "birds", "lake")
    run("env-create", "lake", spec)
    assert run("overlay", "list").stdout == "birds on lake\n"


def test_one_overlay_that_fails_is_named_and_stops_no_other(
    run: Run, environments: Path, index: Path
) -> None:
    write_wheel(index, "own", "1.0", needs="heron<2")
    lists = environments / "lake"
    run("env-create", "lake", write_list(lists, "lake.pip", "heron<2"))
    run("overlay", "create", "ant", "lake", "own")
    run("overlay", "create", "bee", "lake", "marsh")
    write_wheel(index, "marsh", "2.0")
    run("env-create", "lake", write_list(lists, "lake.pip", "heron"))
    refused = run("overlay", "rebuild", status=1).stderr
    assert "overlay ant: " in refused
    assert "heron" in refused
    assert "bee" not in refused
    # The one that failed is as it was.
    assert run("overlay", "list").stdout == (
        "ant on lake: own (of another image: overlay rebuild)\nbee on lake: marsh\n"
    )
    assert "overlay wasp: " in run("overlay", "create", "wasp", "lake", "nowhere", status=1).stderr
    assert "--index is not a package" in run("overlay", "create", "fly", "lake", "--index", status=1).stderr
