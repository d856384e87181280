"""A file of several detectors is ingested for each of them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from camera_files import write_decam
from lsst.resources import ResourcePath

from prompt_processing.butler.ingest import Ingester
from prompt_processing.instruments import RawFileError, load_camera, read_detector_headers, translate
from prompt_processing.instruments.announcement import announcement_of


class HeaderIngester(Ingester):
    """An ingester that enters nothing."""

    def dimension_records(self, visit: Any, observation: Any) -> Any:
        return {}

    def _enter(self, observation: Any, records: Any, arrived: Any) -> Any:
        return observation


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    write_decam(tmp_path / "raw.fits.fz", {25: "S1", 32: "N1"})
    return tmp_path / "raw.fits.fz"


@pytest.mark.parametrize("detector", [25, 32])
def test_each_detector_of_a_file_is_ingested(raw: Path, tmp_path: Path, detector: int) -> None:
    observation = translate(read_detector_headers(raw)[detector])
    local: Any = SimpleNamespace(folder=tmp_path)
    ingester = HeaderIngester(local, load_camera("DECam"), None, {observation.physical_filter}, 0.0)
    ingested = ingester.ingest(announcement_of(observation, 0.0), ResourcePath(str(raw)))
    assert ingested.exposure == observation.exposure_id
    assert ingested.ref.detector == detector


def test_a_detector_that_the_file_lacks_is_refused(raw: Path, tmp_path: Path) -> None:
    observation = translate(read_detector_headers(raw)[25])
    local: Any = SimpleNamespace(folder=tmp_path)
    ingester = HeaderIngester(local, load_camera("DECam"), None, {observation.physical_filter}, 0.0)
    other = announcement_of(observation, 0.0).model_copy(update={"detector": 31})
    with pytest.raises(RawFileError, match="not DECam detector 31"):
        ingester.ingest(other, ResourcePath(str(raw)))
