"""Raws of a described camera enter a repository, with all detectors of a file."""

from pathlib import Path

import numpy as np
import pytest
from camera_files import write_decam
from lsst.daf.butler import Butler
from lsst.resources import ResourcePath

from prompt_processing.cli.main import run
from prompt_processing.repository.raws import import_raws

pytestmark = pytest.mark.integration


def test_each_detector_of_a_file_is_a_raw(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    light = write_decam(tmp_path / "raw.fits.fz", {25: "S1", 32: "N1"})
    assert run("repo", "make", "--instrument", "DECam", str(tmp_path / "central")) == 0
    butler = Butler.from_config(str(tmp_path / "central"), writeable=True)
    file = ResourcePath(str(tmp_path / "raw.fits.fz"))
    assert import_raws(butler, [file]) == 2
    assert import_raws(butler, [file]) == 0
    assert "is left out" not in caplog.text
    # Another exposure of the same number is not lost in silence.
    write_decam(tmp_path / "twin.fits.fz", {25: "S1"}, **{"DATE-OBS": "2023-08-14T04:25:00.5"})
    assert import_raws(butler, [ResourcePath(str(tmp_path / "twin.fits.fz"))]) == 0
    assert "is left out: its exposure id 1234567 is that of another" in caplog.text
    for detector, pixels in light.items():
        frame = butler.get(
            "raw", instrument="DECam", exposure=1234567, detector=detector, collections="DECam/raw/all"
        )
        assert frame.detector == detector
        segment = frame.segments[0]
        data = segment.oriented(segment.data[segment.data_section].astype(int)) - 2000
        np.testing.assert_array_equal(data, pixels[segment.target])
    (record,) = butler.query_dimension_records("exposure", instrument="DECam")
    assert record.physical_filter == "r DECam SDSS c0002 6415.0 1480.0"
    assert len(list(butler.query_dimension_records("visit_detector_region", instrument="DECam"))) == 2
