"""Detect and measure DiaSources on the difference image."""

from __future__ import annotations

from typing import Any

import numpy as np
from lsst.pex.config import RangeField
from lsst.pipe.base import (
    PipelineTaskConfig,
    PipelineTaskConnections,
    Struct,
    connectionTypes,
)

from prompt_processing.imaging.measurement.detect_and_measure import detect_and_measure
from prompt_processing.imaging.measurement.dia_detection import DetectionOptions
from prompt_processing.tasks.numerics_task import NumericsTask

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
    """Threshold of the detection."""

    detectionThreshold = RangeField(
        dtype=float, doc="Significance of a point source, either sign.", default=5.0, min=2.0
    )


class DetectAndMeasureDiaSourceTask(NumericsTask):
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
        """
        options = DetectionOptions(threshold=self.config.detectionThreshold)
        sources = detect_and_measure(difference, science, matched, options)
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
