"""Detect and measure DiaSources on the difference image."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from astropy.table import Table
from lsst.pex.config import Field, RangeField
from lsst.pipe.base import (
    PipelineTaskConfig,
    PipelineTaskConnections,
    Struct,
    connectionTypes,
)

from prompt_processing.association.satellites import SatelliteService, footprint_corners
from prompt_processing.domain.errors import RetriableError
from prompt_processing.tasks.connected_task import ConnectedTask
from prompt_processing.tasks.numerics_task import NumericsTask
from prompt_processing.telemetry.handover import in_this_context

from ..images import Exposure

_VISIT = ("instrument", "visit", "detector")


class DetectAndMeasureDiaSourceConnections(PipelineTaskConnections, dimensions=_VISIT):
    """Difference, image and matched template as inputs; sources as output."""

    difference = connectionTypes.Input(
        doc="Science minus template, nJy.",
        name="difference_image_predetection",
        storageClass="ExposureF",
        dimensions=_VISIT,
    )
    science = connectionTypes.Input(
        doc="Calibrated image, for forced fluxes.",
        name="preliminary_visit_image",
        storageClass="ExposureF",
        dimensions=_VISIT,
    )
    matched = connectionTypes.Input(
        doc="Template as subtracted, for forced fluxes.",
        name="template_matched",
        storageClass="ExposureF",
        dimensions=_VISIT,
    )
    sources = connectionTypes.Output(
        doc="All detected sources with their measurements.",
        name="dia_source_unfiltered",
        storageClass="ArrowAstropy",
        dimensions=_VISIT,
    )
    detected = connectionTypes.Output(
        doc="Difference with detection planes.",
        name="difference_image",
        storageClass="ExposureF",
        dimensions=_VISIT,
    )


class DetectAndMeasureDiaSourceConfig(
    PipelineTaskConfig, pipelineConnections=DetectAndMeasureDiaSourceConnections
):
    """Threshold of the detection, and the filter of satellites."""

    detectionThreshold = RangeField(
        dtype=float, doc="Significance of a point source, either sign.", default=5.0, min=2.0
    )
    removeSatellites = Field[bool](
        doc="Whether to remove sources at the positions of satellites, if there is a service for that.",
        default=True,
    )
    sattleUrl = Field[str](
        doc="Base URI of that service; if empty, SATTLE_URI_BASE of the process.", default=""
    )
    sattleTimeoutSeconds = Field[float](doc="Longest wait for its responses.", default=20.0)


class DetectAndMeasureDiaSourceTask(NumericsTask, ConnectedTask):
    """Detect and measure DiaSources of both signs."""

    ConfigClass = DetectAndMeasureDiaSourceConfig
    _DefaultName = "detectAndMeasureDiaSource"
    config: DetectAndMeasureDiaSourceConfig

    def run(self, difference: Exposure, science: Exposure, matched: Exposure, **_: Any) -> Struct:
        """Detect and measure.

        Parameters
        ----------
        difference
            Only the detection planes of its mask are changed.
        science, matched
            Images on the same pixels.

        Returns
        -------
        result
            ``sources`` and ``detected``.

        Raises
        ------
        RetriableError
            Raised if the service that knows the satellites does not answer.
        """
        # Imported late: a worker is ready before it has the numerics.
        from prompt_processing.imaging.measurement.detect_and_measure import detect_and_measure
        from prompt_processing.imaging.measurement.dia_detection import DetectionOptions

        options = DetectionOptions(threshold=self.config.detectionThreshold)
        satellites = self._satellites(difference)
        if satellites is None:
            sources = detect_and_measure(difference, science, matched, options)
        else:
            # The service predicts the satellites while the sources are measured.
            with ThreadPoolExecutor(1, thread_name_prefix="sattle") as pool:
                announced = pool.submit(in_this_context(satellites.announce))
                sources = detect_and_measure(difference, science, matched, options)
            sources = self._without_satellites(sources, satellites, announced, difference)
        streaks = sources.meta.pop("streaks")
        for number, streak in enumerate(streaks):
            self.log.info(
                "Streak %d: from (%.0f, %.0f) to (%.0f, %.0f), %d pixels masked.",
                number, streak["x0"], streak["y0"], streak["x1"], streak["y1"], streak["pixels"],
            )  # fmt: skip
        self.metadata["numStreaks"] = len(streaks)
        self.metadata["streakPixels"] = sum(streak["pixels"] for streak in streaks)
        negative = int(np.count_nonzero(sources["isNegative"]))
        self.metadata["numDiaSources"] = len(sources)
        self.metadata["numNegative"] = negative
        self.metadata["numDipoles"] = int(np.count_nonzero(sources["isDipole"]))
        self.log.info("%d sources differ from the template, %d of them fainter.", len(sources), negative)
        return Struct(sources=sources, detected=difference)

    def _satellites(self, difference: Exposure) -> SatelliteService | None:
        url = self.config.sattleUrl or self.connections.sattle_url
        if not url or not self.config.removeSatellites:
            return None
        if difference.visit_info is None:
            raise ValueError("The difference has no visit information, which the satellites depend on.")
        return SatelliteService(url, difference.visit_info, self.config.sattleTimeoutSeconds)

    def _without_satellites(
        self, sources: Table, satellites: SatelliteService, announced: Future[None], difference: Exposure
    ) -> Table:
        assert difference.wcs is not None
        try:
            announced.result()
        except RetriableError as error:
            # Another detector may have announced the same visit.
            self.log.warning("%s", error)
        kept = satellites.allowed(
            np.asarray(sources["diaSourceId"]), footprint_corners(sources, difference.wcs)
        )
        removed = int(np.count_nonzero(~kept))
        self.metadata["numSatellites"] = removed
        self.log.info("%d sources removed at the positions of satellites.", removed)
        return sources[kept]
