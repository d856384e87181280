"""The way of a camera that no package describes: raw frames, description, calibrations, templates, alerts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import fastavro
import nbformat
import pandas as pd
import papermill
import pytest
import yaml
from lsst.daf.butler import Butler

from prompt_processing.instruments import read_header
from prompt_processing.instruments.description.registry import recognise

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("warm_start")]

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raws") / "output"
    command = ["demo", "--camera=small", "--visits=2", f"--output={folder}"]
    # The caller may have this set for other work; the alerts belong into the folder.
    elsewhere = {"AP_KAFKA_SERVER": "127.0.0.1:9", "AP_KAFKA_TOPIC": "alerts"}
    done = subprocess.run(
        [sys.executable, "-m", "prompt_processing", *command],
        capture_output=True,
        text=True,
        timeout=840,
        check=False,
        env={**os.environ, **elsewhere},
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def values(output: Path) -> dict[str, float]:
    found: dict[str, float] = json.loads((output / "result.json").read_text())["values"]
    return found


def test_no_described_camera_wrote_the_frames(output: Path) -> None:
    raws = sorted((output / "observatory").rglob("*.fits"))
    assert len(raws) > 30
    assert all(recognise(read_header(path)) is None for path in (raws[0], raws[-1]))


def test_parity_and_rotation_come_from_the_stars(output: Path) -> None:
    described = yaml.safe_load((output / "cameras" / "Kestrel" / "instrument.yaml").read_text())
    assert described["parity_flipped_x"] is True
    assert described["header"]["rotation"]["constant"] == pytest.approx(1.5, abs=0.1)


def test_gain_and_read_noise_are_the_true_ones(values: dict[str, float]) -> None:
    assert values["gain"] == pytest.approx(1, abs=0.02)
    assert values["read_noise"] == pytest.approx(1, abs=0.05)


def test_bias_and_flat_have_their_expected_noise(values: dict[str, float]) -> None:
    assert values["bias_pull"] == pytest.approx(1, abs=0.05)
    assert values["flat_pull"] == pytest.approx(1, abs=0.05)


def test_template_has_the_depth_and_the_positions_of_its_images(values: dict[str, float]) -> None:
    assert values["depth"] == pytest.approx(1, abs=0.02)
    assert values["astrometry_mas"] < 20
    assert values["stars"] > 30
    assert values["matched_share"] > 0.9


def test_alerts_are_the_changes(output: Path) -> None:
    images: dict[str, Any] = json.loads((output / "result.json").read_text())["images"]
    assert len(images) == 2
    count = {name: sum(one[name] for one in images.values()) for name in images[next(iter(images))]}
    # Enough that one missed change is less than a per cent.
    assert count["expected"] >= 100
    assert count["recovered"] >= 0.99 * count["expected"]
    assert count["spurious"] <= 0.02 * count["above"]
    for path in (output / "night" / "alerts").glob("*.avro"):
        with path.open("rb") as file:
            ids = [alert["diaSourceId"] for alert in fastavro.reader(file)]
        assert len(set(ids)) == len(ids) > 10


def test_page_shows_each_command_with_pictures(output: Path) -> None:
    page = (output / "index.html").read_text()
    for command in ("instrument new", "instrument check", "calibrations build", "refcat import"):
        assert f"$ prompt {command}" in page
    for name in ("1-camera", "2-calibrations", "3-template", "4-alerts", "5-magnitudes"):
        assert f"pictures/{name}.png" in page
        assert (output / "pictures" / f"{name}.png").stat().st_size > 5000
    assert {"calibrations.html", "templates.html"} <= {path.name for path in output.iterdir()}
    assert 'src="http' not in page


@pytest.mark.parametrize(
    ("name", "figures"),
    [("visit-in-depth", 3), ("alerts-and-light-curves", 3), ("is-this-template-good", 2)],
    ids=str,
)
def test_notebook_shows_the_night(output: Path, tmp_path: Path, name: str, figures: int) -> None:
    data = shown_by(name, output, tmp_path)
    assert sum("image/png" in one for one in data) == figures
    assert any("text/html" in one for one in data)


def test_notebooks_run_a_new_task_on_the_night_and_compare(output: Path, tmp_path: Path) -> None:
    before = sorted((output / "night" / "alerts").iterdir())
    last = int(before[-1].stem.partition("_")[0])
    data = shown_by("write-a-task", output, tmp_path, visits=[last])
    assert sum("image/png" in one for one in data) == 3
    (folder,) = (output / "again").glob("*/u__me__points/comparison")
    kept, lost = (pd.read_parquet(folder / f"{name}.parquet") for name in ("pairs", "only_first"))
    assert 0 < len(lost) < len(kept)
    with Butler.from_config(str(output / "repo")) as butler:
        (ref,) = butler.query_datasets("dia_source_apdb", "u/me/points/0000")
        again = butler.get(ref).to_pandas()
    assert len(again) >= len(kept)
    assert (again["psfChi2"] / again["psfNdata"] < 1.1001).all()
    assert sorted((output / "night" / "alerts").iterdir()) == before
    data = shown_by("comparing-two-runs", output, tmp_path)
    assert sum("image/png" in one for one in data) == 2
    assert any("u/me/points" in one.get("text/plain", "") for one in data)


def shown_by(name: str, folder: Path, scratch: Path, **parameters: object) -> list[dict[str, str]]:
    """Run a notebook in a folder, and return what its cells show."""
    run = scratch / f"{name}.ipynb"
    papermill.execute_notebook(
        NOTEBOOKS / f"{name}.ipynb", run, parameters=parameters, cwd=folder, progress_bar=False
    )
    cells = nbformat.read(run, as_version=4).cells
    outputs = [out for cell in cells for out in cell.get("outputs", [])]
    return [{"text/plain": out.get("text", ""), **out.get("data", {})} for out in outputs]


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebook_is_a_tutorial_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert notebook.cells[0].source.startswith("# ")
    assert not [cell for cell in notebook.cells if cell.get("outputs")]
    assert sum("parameters" in cell.metadata.get("tags", []) for cell in notebook.cells) == 1
    # Papermill fails without it.
    assert notebook.metadata["kernelspec"]["language"] == "python"
