"""Warp coadd patches to the pixels of a visit's image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lsst.daf.butler import DeferredDatasetHandle
from lsst.pex.config import RangeField
from lsst.pipe.base import (
    NoWorkFound,
    PipelineTaskConfig,
    PipelineTaskConnections,
    Struct,
    connectionTypes,
)

from prompt_processing.imaging.errors import NoTemplateOverlapError, NumericalError
from prompt_processing.tasks.numerics_task import NumericsTask

from ..images import Exposure, SkyMap

_VISIT = ("instrument", "visit", "detector")
_USUAL_MARGIN_ARCSEC = 30.0
"""Default of the worker's setting `preload_padding`."""


class BuildTemplateConnections(PipelineTaskConnections, dimensions=(*_VISIT, "skymap")):
    """Image and coadds as inputs; template as output."""

    image = connectionTypes.Input(
        doc="Image that defines the template's pixels.",
        name="preliminary_visit_image",
        storageClass="ExposureF",
        dimensions=_VISIT,
    )
    sky_map = connectionTypes.Input(
        doc="Sky map of the patches.",
        name="skyMap",
        storageClass="SkyMap",
        dimensions=("skymap",),
    )
    coadds = connectionTypes.Input(
        doc="Template patches, nJy.",
        name="template_coadd",
        storageClass="ExposureF",
        dimensions=("skymap", "tract", "patch", "band"),
        multiple=True,
        deferLoad=True,
    )
    template = connectionTypes.Output(
        doc="Template on the image's pixels, nJy.",
        name="template_detector",
        storageClass="ExposureF",
        dimensions=_VISIT,
    )


class BuildTemplateConfig(PipelineTaskConfig, pipelineConnections=BuildTemplateConnections):
    """Required coverage of the image by the template."""

    minimumCoverage = RangeField(
        dtype=float,
        doc="Fraction of the image below which no difference is made.",
        default=0.05,
        min=0.0,
        max=1.0,
    )


class BuildTemplateTask(NumericsTask):
    """Warp template patches."""

    ConfigClass = BuildTemplateConfig
    _DefaultName = "buildTemplate"
    config: BuildTemplateConfig

    def run(
        self, image: Exposure, sky_map: SkyMap, coadds: Sequence[DeferredDatasetHandle], **_: Any
    ) -> Struct:
        """Warp the patches.

        Parameters
        ----------
        image
            Calibrated, with its fitted WCS.
        sky_map
            Sky map of the patches.
        coadds
            Patches that overlap the announced field.

        Returns
        -------
        result
            ``template``: `~prompt_processing.images.Exposure`.

        Raises
        ------
        NoWorkFound
            Raised if the template covers too little of the image.
        NoTemplateOverlapError
            Raised if the template does not overlap the image.
        """
        # Imported late: a worker is ready before it has the numerics.
        from prompt_processing.imaging.calibration.psf.measured import measure_psf
        from prompt_processing.imaging.templates.warp import warp_template

        footprint = sky_map.footprint_region(image)
        by_place = {(int(handle.dataId["tract"]), int(handle.dataId["patch"])): handle for handle in coadds}
        # Read one by one: those of a second tract are rarely needed, and may not be in memory.
        patches = (
            by_place[place].get()
            for place in sorted(by_place)
            if not sky_map.patch_region(*place).isDisjointFrom(footprint)
        )
        try:
            template = warp_template(patches, image.wcs, image.shape)
        except NoTemplateOverlapError as error:
            if not (remark := _pointing_of(image)):
                raise
            told = f"No template patch reaches the image.{remark}"
            raise NoTemplateOverlapError(told, **error.numbers) from error
        if template.psf is None:
            # Coadds of other stacks may have a PSF of a kind that is not read.
            fwhm = 4.0 if image.psf is None else image.psf.fwhm_at()
            try:
                template.psf = measure_psf(template, fwhm)
            except NumericalError as error:
                self.log.warning("The template has no PSF, and none can be measured: %s", error)
        template.photo_calib = image.photo_calib
        template.visit_info = image.visit_info
        coverage = float(template.metadata["COVERAGE"])
        self.metadata["coverage"] = coverage
        self.metadata["patches"] = int(template.metadata["NPATCHES"])
        if coverage < self.config.minimumCoverage:
            minimum = self.config.minimumCoverage
            covered = f"The template covers {coverage:.1%} of the image; {minimum:.1%} are needed."
            raise NoWorkFound(f"{covered}{_pointing_of(image)}")
        if coverage < 1 and (remark := _pointing_of(image)):
            self.log.warning("The template covers %.1f%% of the image.%s", 100 * coverage, remark)
        return Struct(template=template)


def _pointing_of(image: Exposure) -> str:
    """Return what is wrong with an image's announced position; empty if it is within the usual margin."""
    offset = float(image.metadata.get("pointing_offset_arcsec") or 0.0)
    if not offset > _USUAL_MARGIN_ARCSEC:
        return ""
    return (
        f" The image is {offset:.0f} arcsec from where it was announced, and templates were loaded for that "
        f"place with a margin (PRELOAD_PADDING, by default {_USUAL_MARGIN_ARCSEC:.0f} arcsec): correct the "
        "pointing, or set a larger margin."
    )
