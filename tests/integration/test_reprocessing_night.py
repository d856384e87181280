"""A night of the worker is processed again with the same software, and is identical."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from lsst.daf.butler import Butler, CollectionType  # type: ignore[attr-defined]
from lsst.dax.apdb import Apdb

from prompt_processing.cli.main import run
from prompt_processing.simulation.night import build_night

pytestmark = pytest.mark.integration


def test_night_processed_again_is_identical_and_in_an_apdb_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CONFIG_APDB", raising=False)
    build_night(tmp_path / "night", "LSSTCam", [94], 1, seed=1, workers=1, miniature=(127, 500), n_template=2)
    assert run("repo", "make", "--content=night", "repo") == 0
    assert run("repo", "import-raws", "repo", "night/unobserved") == 0
    ours = ["--repo=repo", "--instrument=LSSTCam", "--night=2025-06-10", "--work=work"]
    # Never processed at night: regions come from the raws.
    assert run("reprocess-night", *ours, "--output=u/me/first", "--no-compare") == 0
    # The worker keeps images in memory from task to task; those in files have rounded pixels.
    assert (
        run("watch", "night/unobserved", "--once", "--repo=repo", "--instrument=LSSTCam", "--work=watched")
        == 0
    )
    with Butler.from_config("repo") as butler:
        (night,) = butler.collections.query(
            "LSSTCam/prompt/output-*", collection_types=CollectionType.CHAINED
        )
    again = [*ours, "--output=u/me/second", f"--first={night}"]
    first_apdb = str(tmp_path / "watched/apdb.yaml")
    capsys.readouterr()
    assert run("reprocess-night", *again, f"--first-apdb={first_apdb}") == 0
    shown = capsys.readouterr().out
    assert "Both processings are identical." in shown
    folder = tmp_path / "work/reprocess-night/u__me__second"
    pairs = pd.read_parquet(folder / "comparison/pairs.parquet")
    assert len(pairs) > 5
    assert pairs["flux_pull"].abs().max() < 1e-5
    assert (folder / "comparison/comparison.png").exists()
    (visit,) = set(pairs["visit"])
    assert Apdb.from_uri(str(folder / "apdb.yaml")).containsVisitDetector(visit, 94)
    # A repeated command has nothing left to do, and changes nothing.
    assert run("reprocess-night", *again) == 0
    # The same APDB for both would mix them.
    assert run("reprocess-night", *again, f"--first-apdb={folder / 'apdb.yaml'}") == 1
    assert "names the APDB of the first processing" in capsys.readouterr().err
