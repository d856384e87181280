"""Coadd the images of visits to a template patch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from lsst.daf.butler import DeferredDatasetHandle
from lsst.pex.config import Field, RangeField
from lsst.pipe.base import (
    NoWorkFound,
    PipelineTaskConfig,
    PipelineTaskConnections,
    Struct,
    connectionTypes,
)

from prompt_processing.imaging.templates.coaddition import Coaddition, CoaddOptions, coadd_layers
from prompt_processing.imaging.templates.layers import Layer, warp_layer
from prompt_processing.tasks.numerics_task import NumericsTask

from ..images import Exposure, SkyMap

__all__ = ["CoaddTemplatesConfig", "CoaddTemplatesTask"]

_PATCH = ("skymap", "tract", "patch")


class CoaddTemplatesConnections(PipelineTaskConnections, dimensions=(*_PATCH, "band")):
    """Images of visits as inputs; template patch as output."""

    images = connectionTypes.Input(
        doc="Calibrated images, whose visits overlap the patch.",
        name="preliminary_visit_image",
        storageClass="ExposureF",
        dimensions=("instrument", "visit", "detector"),
        multiple=True,
        deferLoad=True,
    )
    sky_map = connectionTypes.Input(
        doc="Sky map of the patches.", name="skyMap", storageClass="SkyMap", dimensions=("skymap",)
    )
    coadd = connectionTypes.Output(
        doc="Template patch, nJy.",
        name="template_coadd",
        storageClass="ExposureF",
        dimensions=(*_PATCH, "band"),
    )


class CoaddTemplatesConfig(PipelineTaskConfig, pipelineConnections=CoaddTemplatesConnections):
    """Rejection, and what a patch must have."""

    clip = RangeField(
        dtype=float,
        doc="Significance of a difference from the median that is rejected.",
        default=CoaddOptions().clip,
        min=3.0,
    )
    floor = RangeField(
        dtype=float,
        doc="Fraction of a star within which nothing is rejected, besides the difference of the PSFs.",
        default=CoaddOptions().floor,
        min=0.0,
        max=1.0,
        inclusiveMax=True,
    )
    skyDegree = RangeField(
        dtype=int,
        doc="Degree of the polynomial that matches the skies.",
        default=2,
        min=0,
        max=2,
        inclusiveMax=True,
    )
    least = Field[int](doc="Visits below which no patch is made.", default=3)


class CoaddTemplatesTask(NumericsTask):
    """Coadd a template patch."""

    ConfigClass = CoaddTemplatesConfig
    _DefaultName = "coaddTemplates"
    config: CoaddTemplatesConfig

    def runQuantum(self, butlerQC: Any, inputRefs: Any, outputRefs: Any) -> None:  # noqa: N802 (the base class's name)
        """Run one quantum, with the patch's numbers."""
        self._place = int(butlerQC.quantum.dataId["tract"]), int(butlerQC.quantum.dataId["patch"])
        self._band = str(butlerQC.quantum.dataId["band"])
        super().runQuantum(butlerQC, inputRefs, outputRefs)

    def run(self, images: Sequence[DeferredDatasetHandle], sky_map: SkyMap, **_: Any) -> Struct:
        """Warp the images, match their skies, reject what moves or flashes, and average the rest.

        Parameters
        ----------
        images
            Handles of images, read one after the other. Their warps, 11 bytes per pixel, are held together.
        sky_map
            Sky map of the patches.

        Returns
        -------
        result
            ``coadd``: `~prompt_processing.images.Exposure`.

        Raises
        ------
        NoWorkFound
            Raised if too few visits have pixels on the patch.
        """
        wcs = sky_map.patch_wcs(*self._place)
        assert wcs.pixel_shape is not None
        shape = wcs.pixel_shape[1], wcs.pixel_shape[0]
        layers = []
        for handle in sorted(images, key=_identity):
            visit, detector = _identity(handle)
            exposure: Exposure = handle.get()
            layer = warp_layer(exposure, wcs, shape, visit, f"{visit}/{detector}")
            if layer is not None:
                layers.append(layer)
        visits = len({layer.epoch for layer in layers})
        self.metadata["visits"] = visits
        if visits < max(self.config.least, 1):
            raise NoWorkFound(f"{visits} visits reach the patch; {self.config.least} are needed.")
        options = CoaddOptions(
            clip=self.config.clip, floor=self.config.floor, sky_degree=self.config.skyDegree
        )
        result = coadd_layers(layers, wcs, shape, options)
        self._describe(result)
        coadd = result.coadd
        coadd.metadata = {
            "BAND": self._band,
            "NEXPOSE": visits,
            **{name: value for name, value in result.summary.items() if value == value},
        }
        self.log.info(
            "%d visits, seeing %.2f arcsec, depth %.2f mag, %d pixels without a value.",
            visits,
            result.summary.get("seeing_fwhm_arcsec", float("nan")),
            result.summary.get("limiting_magnitude_5sigma", float("nan")),
            result.summary["holes"],
        )
        return Struct(coadd=coadd)

    def _describe(self, result: Coaddition) -> None:
        """Record what the patch was made of, for the page that is looked at."""
        for name, value in result.summary.items():
            if value == value:
                self.metadata[name] = value
        layers: Sequence[Layer] = result.layers
        self.metadata["names"] = [layer.name for layer in layers]
        total = sum(layer.weight for layer in layers)
        self.metadata["weights"] = [float(layer.weight / total) for layer in layers]
        self.metadata["sky_offsets"] = [float(layer.sky_offset) for layer in layers]
        self.metadata["rejected"] = [float(layer.rejected / layer.image.size) for layer in layers]
        self.metadata["fwhm_pixels"] = [float(np.nan_to_num(layer.fwhm())) for layer in layers]


def _identity(handle: DeferredDatasetHandle) -> tuple[int, int]:
    return int(handle.dataId["visit"]), int(handle.dataId["detector"])
