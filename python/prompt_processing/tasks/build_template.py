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

from prompt_processing.imaging.calibration.psf.measured import measure_psf
from prompt_processing.imaging.errors import NumericalError
from prompt_processing.imaging.templates.warp import warp_template
from prompt_processing.tasks.numerics_task import NumericsTask

from ..images import Exposure, SkyMap

_VISIT = ("instrument", "visit", "detector")


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
        footprint = sky_map.footprint_region(image)
        by_place = {(int(handle.dataId["tract"]), int(handle.dataId["patch"])): handle for handle in coadds}
        patches = [
            by_place[place].get()
            for place in sorted(by_place)
            if not sky_map.patch_region(*place).isDisjointFrom(footprint)
        ]
        template = warp_template(patches, image.wcs, image.shape)
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
        self.metadata["patches"] = len(patches)
        if coverage < self.config.minimumCoverage:
            minimum = self.config.minimumCoverage
            raise NoWorkFound(f"The template covers {coverage:.1%} of the image; {minimum:.1%} are needed.")
        return Struct(template=template)
