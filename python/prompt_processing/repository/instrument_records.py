"""Insert the dimension records of an instrument, from its camera."""

from __future__ import annotations

from lsst.daf.butler import Butler

from prompt_processing.instruments.camera import Camera

_LSST_MAX_EXPOSURE = 7_050_123_199_999
_CLASS_NAMES = {
    "LSSTCam": "lsst.obs.lsst.LsstCam",
    "LSSTComCam": "lsst.obs.lsst.LsstComCam",
    "LATISS": "lsst.obs.lsst.Latiss",
    "HSC": "lsst.obs.subaru.HyperSuprimeCam",
}
_BY_SEQ_START_END = 2
_ONE_TO_ONE = 0
VISIT_SYSTEMS = {0: "one-to-one", 1: "by-group-metadata", 2: "by-seq-start-end"}
"""The Butler's ways of grouping exposures into visits."""


def insert_instrument(butler: Butler, camera: Camera) -> None:
    """Insert the instrument, its detectors and its filters.

    Parameters
    ----------
    butler
        Writeable; existing records are left unchanged.
    camera
        The instrument.
    """
    universe = butler.dimensions
    lsst = camera.name.startswith(("LSST", "LATISS"))
    max_exposure = _LSST_MAX_EXPOSURE if lsst else 21_474_800
    with butler.transaction():
        butler.registry.insertDimensionData(
            "instrument",
            universe["instrument"].RecordClass(
                name=camera.name,
                detector_max=max(camera.detectors) + 1,
                visit_max=max_exposure,
                exposure_max=max_exposure,
                visit_system=_BY_SEQ_START_END if lsst else _ONE_TO_ONE,
                # LSST software looks up its own camera class by this name.
                class_name=_CLASS_NAMES.get(camera.name, "lsst.pipe.base.Instrument"),
            ),
            skip_existing=True,
        )
        butler.registry.insertDimensionData(
            "detector",
            *(
                universe["detector"].RecordClass(
                    instrument=camera.name,
                    id=detector.id,
                    full_name=detector.name,
                    name_in_raft=detector.sensor,
                    raft=detector.raft,
                    purpose=detector.purpose,
                )
                for detector in camera.detectors.values()
            ),
            skip_existing=True,
        )
        butler.registry.insertDimensionData(
            "physical_filter",
            *(
                universe["physical_filter"].RecordClass(
                    instrument=camera.name, name=physical_filter, band=band
                )
                for physical_filter, band in camera.filters.items()
            ),
            skip_existing=True,
        )
        butler.registry.insertDimensionData(
            "visit_system",
            *(
                universe["visit_system"].RecordClass(instrument=camera.name, id=number, name=name)
                for number, name in VISIT_SYSTEMS.items()
            ),
            skip_existing=True,
        )
