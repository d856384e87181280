"""Instrument records equal those of the cameras' own packages: a registry takes only one for each name."""

from __future__ import annotations

from typing import Any

import pytest
from lsst.daf.butler import Butler

from prompt_processing.instruments.camera import load_camera
from prompt_processing.repository.instrument_records import insert_instrument

LSST_EXPOSURES = 7_050_123_199_999
BY_SEQUENCE, EACH_EXPOSURE = 2, 0
RECORDS = {
    "DECam": ("lsst.obs.decam.DarkEnergyCamera", 2**25, 100, EACH_EXPOSURE),
    "HSC": ("lsst.obs.subaru.HyperSuprimeCam", 21_474_800, 200, EACH_EXPOSURE),
    "LATISS": ("lsst.obs.lsst.Latiss", LSST_EXPOSURES, 1, BY_SEQUENCE),
    "LSST-TS8": ("lsst.obs.lsst.LsstTS8", 205_012_312_359_999, 1000, EACH_EXPOSURE),
    "LSSTCam": ("lsst.obs.lsst.LsstCam", LSST_EXPOSURES, 1000, BY_SEQUENCE),
    "LSSTCam-imSim": ("lsst.obs.lsst.LsstCamImSim", 9_999_999, 1000, EACH_EXPOSURE),
    "LSSTCamSim": ("lsst.obs.lsst.LsstCamSim", LSST_EXPOSURES, 1000, BY_SEQUENCE),
    "LSSTComCam": ("lsst.obs.lsst.LsstComCam", LSST_EXPOSURES, 1000, BY_SEQUENCE),
    "LSSTComCamSim": ("lsst.obs.lsst.LsstComCamSim", LSST_EXPOSURES, 1000, BY_SEQUENCE),
}
"""Class, largest exposure, bound of the detectors and visit system, by obs_lsst 0e84d755, obs_subaru d4a8abe0
and obs_decam 35ef7ab."""


@pytest.fixture(scope="module")
def butler(tmp_path_factory: pytest.TempPathFactory) -> Butler:
    folder = str(tmp_path_factory.mktemp("central"))
    Butler.makeRepo(folder)
    return Butler.from_config(folder, writeable=True)


@pytest.mark.parametrize("name", RECORDS)
def test_record_of_an_instrument_is_that_of_its_own_package(butler: Butler, name: str) -> None:
    insert_instrument(butler, load_camera(name))
    class_name, exposures, detectors, visit_system = RECORDS[name]
    theirs: dict[str, Any] = {
        "name": name,
        "class_name": class_name,
        "exposure_max": exposures,
        "visit_max": exposures,
        "detector_max": detectors,
        "visit_system": visit_system,
    }
    # Raises an error if a value differs.
    assert butler.registry.syncDimensionData("instrument", theirs) is False
