"""A developer's way from nothing to a second repository, with the commands as they are typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from lsst.daf.butler import Butler

from prompt_processing.cli.main import run

pytestmark = pytest.mark.integration


def test_simulated_night_goes_from_repository_to_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CONFIG_APDB", raising=False)
    camera = ["--instrument=LSSTCam"]
    assert run("simulate", "--small", "--visits=2", "--detectors=94", "night") == 0
    assert run("repo", "make", "--content=night", "central_repo") == 0
    assert run("repo", "import-raws", "central_repo", "night/unobserved") == 0
    assert run("repo", "import-raws", "central_repo", "night/unobserved") == 0
    assert run("repo", "import-raws", "central_repo", "night/absent.fits") == 1
    assert run("repo", "import-raws", "central_repo", "night/night.json") == 1
    assert run("repo", "export", "visits", "central_repo", "visits", *camera, "--n-exposures=1") == 0
    assert run("repo", "export", "visits", "central_repo", "inputs", *camera, "--all-inputs") == 0
    assert run("repo", "make", "other_repo") == 0
    assert run("repo", "import", "other_repo", "inputs", "visits") == 0
    assert run("repo", "make", "--add", "--instrument=LSSTCam", "other_repo") == 0
    capsys.readouterr()
    assert run("repo", "check", "other_repo", "--instrument=LSSTCam", "--skymap=lsstcam_simulated") == 0
    assert "0 problem(s)" in capsys.readouterr().out
    with Butler.from_config("other_repo") as butler:
        (raw,) = butler.query_datasets("raw", "LSSTCam/raw/all")
        (visit,) = butler.query_dimension_records("visit", instrument="LSSTCam")
        assert visit.id == raw.dataId["exposure"]
        assert butler.query_dimension_records("visit_detector_region", instrument="LSSTCam", visit=visit.id)
        assert butler.get("camera", instrument="LSSTCam", collections="LSSTCam/defaults").name == "LSSTCam"
