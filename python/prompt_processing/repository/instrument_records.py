"""Insert the dimension records of an instrument, from its camera."""

from __future__ import annotations

from lsst.daf.butler import Butler

from prompt_processing.instruments import Camera, InstrumentError, load_instrument
from prompt_processing.instruments.description.document import ButlerDocument

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
    facts = _facts(camera)
    with butler.transaction():
        butler.registry.insertDimensionData(
            "instrument",
            universe["instrument"].RecordClass(
                name=camera.name,
                detector_max=facts.detector_max or max(camera.detectors) + 1,
                visit_max=facts.exposure_max,
                exposure_max=facts.exposure_max,
                visit_system=facts.visit_system,
                # LSST software looks up its own camera class by this name.
                class_name=facts.class_name,
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
                    name_in_raft=detector.sensor or None,
                    raft=detector.raft or None,
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


def _facts(camera: Camera) -> ButlerDocument:
    try:
        return load_instrument(camera.name).document.butler
    except InstrumentError:
        # A camera of a night that was simulated elsewhere.
        return ButlerDocument()
