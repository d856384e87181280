"""Subtract the PSF-matched template from the image."""

from __future__ import annotations

import math
from typing import Any

from astropy.table import Table
from lsst.pipe.base import (
    PipelineTaskConfig,
    PipelineTaskConnections,
    Struct,
    connectionTypes,
)

from prompt_processing.tasks.numerics_task import NumericsTask

from ..images import Exposure

_VISIT = ("instrument", "visit", "detector")


class SubtractImagesConnections(PipelineTaskConnections, dimensions=_VISIT):
    """Image and template as inputs; difference as output."""

    science = connectionTypes.Input(
        doc="Calibrated image, nJy.",
        name="preliminary_visit_image",
        storageClass="ExposureF",
        dimensions=_VISIT,
    )
    template = connectionTypes.Input(
        doc="Template on the same pixels, nJy.",
        name="template_detector",
        storageClass="ExposureF",
        dimensions=_VISIT,
    )
    stars = connectionTypes.Input(
        doc="Sources of the image; the kernel is fitted to a selection of them.",
        name="single_visit_star",
        storageClass="ArrowAstropy",
        dimensions=_VISIT,
    )
    difference = connectionTypes.Output(
        doc="Science minus template, nJy.",
        name="difference_image_predetection",
        storageClass="ExposureF",
        dimensions=_VISIT,
    )
    matched = connectionTypes.Output(
        doc="Template as subtracted.",
        name="template_matched",
        storageClass="ExposureF",
        dimensions=_VISIT,
    )
    kernel = connectionTypes.Output(
        doc="Kernel that matches the PSFs.",
        name="difference_kernel",
        storageClass="MatchingKernel",
        dimensions=_VISIT,
    )


class SubtractImagesConfig(PipelineTaskConfig, pipelineConnections=SubtractImagesConnections):
    """No options: the thresholds are those of `SubtractionOptions`."""


class SubtractImagesTask(NumericsTask):
    """Match the PSFs and subtract."""

    ConfigClass = SubtractImagesConfig
    _DefaultName = "subtractImages"
    config: SubtractImagesConfig

    def run(self, science: Exposure, template: Exposure, stars: Table, **_: Any) -> Struct:
        """Subtract the template.

        Parameters
        ----------
        science, template
            Images on the same pixels, nJy.
        stars : `~astropy.table.Table`
            Sources of the science image.

        Returns
        -------
        result
            ``difference``, ``matched``, ``kernel``.

        Raises
        ------
        TooFewKernelStarsError, BadKernelError
            Raised if no valid kernel can be fitted.
        """
        # Imported late: a worker is ready before it has the numerics.
        from prompt_processing.imaging.difference.residuals import (
            bright_sample,
            measure_residuals,
            stars_in_both,
        )
        from prompt_processing.imaging.difference.subtraction import subtract

        result = subtract(science, template, stars)
        compared = stars_in_both(bright_sample(stars), science, template)
        residuals = measure_residuals(result.difference, compared)
        seen = {"residualSky": residuals.sky, "residualStars": residuals.stars}
        # Metadata and FITS headers cannot hold NaN.
        metrics = {k: v for k, v in {**result.metrics, **seen}.items() if math.isfinite(v)}
        for name, value in metrics.items():
            self.metadata[name] = value
        result.difference.metadata.update(metrics)
        return Struct(difference=result.difference, matched=result.matched, kernel=result.kernel)
