"""From an image in electrons to one in nJy with PSF, WCS and a star catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from astropy.table import vstack
from lsst.daf.butler import DeferredDatasetHandle
from lsst.pipe.base import (
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    Struct,
    connectionTypes,
)

from ..alert_production.calibrate import calibrate_image
from ..alert_production.errors import NoReferenceStarsError
from ..images import Exposure

_VISIT = ("instrument", "visit", "detector")


class CalibrateImageConnections(PipelineTaskConnections, dimensions=_VISIT):
    """Snaps and reference stars in, a calibrated image out."""

    exposures = connectionTypes.Input(
        doc="The visit's snaps without instrument signature, electrons.",
        name="post_isr_image",
        storageClass="ExposureF",
        dimensions=("instrument", "exposure", "detector"),
        multiple=True,
    )
    reference_stars = connectionTypes.PrerequisiteInput(
        doc="Positions and fluxes of stars.",
        name="reference_stars",
        storageClass="ArrowAstropy",
        dimensions=("htm7",),
        multiple=True,
        deferLoad=True,
    )
    image = connectionTypes.Output(
        doc="Calibrated and background-subtracted image, nJy.",
        name="preliminary_visit_image",
        storageClass="ExposureF",
        dimensions=_VISIT,
    )
    background = connectionTypes.Output(
        doc="What was subtracted, nJy.",
        name="preliminary_visit_image_background",
        storageClass="Background",
        dimensions=_VISIT,
    )
    stars = connectionTypes.Output(
        doc="Sources measured on the image.",
        name="single_visit_star",
        storageClass="ArrowAstropy",
        dimensions=_VISIT,
    )
    photo_calib = connectionTypes.Output(
        doc="From electrons to nJy.",
        name="initial_photoCalib_detector",
        storageClass="PhotoCalib",
        dimensions=_VISIT,
    )


class CalibrateImageConfig(PipelineTaskConfig, pipelineConnections=CalibrateImageConnections):
    """Nothing to choose: thresholds are those of `CalibrateOptions`."""


class CalibrateImageTask(PipelineTask):
    """Calibrate a visit's image of one detector."""

    ConfigClass = CalibrateImageConfig
    _DefaultName = "calibrateImage"
    config: CalibrateImageConfig

    def run(
        self, exposures: Sequence[Exposure], reference_stars: Sequence[DeferredDatasetHandle], **_: Any
    ) -> Struct:
        """Calibrate.

        Parameters
        ----------
        exposures : sequence of `~prompt_processing.images.Exposure`
            One or two snaps.
        reference_stars : sequence of `~lsst.daf.butler.DeferredDatasetHandle`
            Shards of the catalogue.

        Returns
        -------
        result : `~lsst.pipe.base.Struct`
            ``image``, ``background``, ``stars``, ``photo_calib``.

        Raises
        ------
        NoReferenceStarsError
            Raised if there is no shard for this part of the sky.
        """
        if not reference_stars:
            raise NoReferenceStarsError("The reference catalogue has no shard where the image lies")
        first, *others = exposures
        if first.visit_info is None:
            raise ValueError("The image does not say of which visit it is.")
        reference = vstack([handle.get() for handle in reference_stars], metadata_conflicts="silent")
        # The snap is an output of its own and may be shared; the calibration works in place.
        own = Exposure(
            np.array(first.image), np.array(first.mask), np.array(first.variance), first.wcs,
            visit_info=first.visit_info, metadata=dict(first.metadata),
        )  # fmt: skip
        result = calibrate_image([own, *others], reference, first.visit_info.band)
        for name, value in result.summary.items():
            self.metadata[name] = value
        return Struct(
            image=result.exposure,
            background=result.background,
            stars=result.stars,
            photo_calib=result.photo_calib,
        )
