"""A developer's way from nothing to a second repository, with the commands as they are typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from lsst.daf.butler import Butler

from prompt_processing.cli import repo_check as check_cli
from prompt_processing.cli import repo_export as export_cli
from prompt_processing.cli import repo_import as import_cli
from prompt_processing.cli import repo_make as cli
from prompt_processing.cli import simulate as simulate
from prompt_processing.repository import raws

pytestmark = pytest.mark.integration


def test_simulated_night_goes_from_repository_to_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CONFIG_APDB", raising=False)
    assert simulate.main(["--small", "--visits=2", "--detectors=94", "night"]) == 0
    assert cli.main(["--content=night", "central_repo"]) == 0
    assert raws.main(["central_repo", "night/unobserved"]) == 0
    assert raws.main(["central_repo", "night/unobserved"]) == 0
    assert raws.main(["central_repo", "night/absent.fits"]) == 1
    assert raws.main(["central_repo", "night/night.json"]) == 1
    assert export_cli.make_export(["central_repo", "visits", "--instrument=LSSTCam", "--n-exposures=1"]) == 0
    assert export_cli.make_export(["central_repo", "inputs", "--instrument=LSSTCam", "--all-inputs"]) == 0
    assert cli.main(["other_repo"]) == 0
    assert import_cli.main(["other_repo", "inputs", "visits"]) == 0
    assert cli.main(["--add", "--instrument=LSSTCam", "other_repo"]) == 0
    capsys.readouterr()
    assert check_cli.main(["other_repo", "--instrument=LSSTCam", "--skymap=lsstcam_simulated"]) == 0
    assert "0 problem(s)" in capsys.readouterr().out
    with Butler.from_config("other_repo") as butler:
        (raw,) = butler.query_datasets("raw", "LSSTCam/raw/all")
        (visit,) = butler.query_dimension_records("visit", instrument="LSSTCam")
        assert visit.id == raw.dataId["exposure"]
        assert butler.query_dimension_records("visit_detector_region", instrument="LSSTCam", visit=visit.id)
        assert butler.get("camera", instrument="LSSTCam", collections="LSSTCam/defaults").name == "LSSTCam"
