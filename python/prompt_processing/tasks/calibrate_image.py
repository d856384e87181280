"""Calibrate an image in electrons to nJy, with PSF, WCS and a star catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import Table, vstack
from lsst.daf.butler import DeferredDatasetHandle
from lsst.pex.config import DictField, Field, RangeField
from lsst.pipe.base import (
    PipelineTaskConfig,
    PipelineTaskConnections,
    Struct,
    connectionTypes,
)

from prompt_processing.imaging.calibration.colour_terms import ColourTerm
from prompt_processing.imaging.calibration.nearest_band import nearest_band
from prompt_processing.imaging.calibration.reference_epoch import at_epoch
from prompt_processing.imaging.errors import NoReferenceStarsError
from prompt_processing.tasks.numerics_task import NumericsTask

from ..images import Exposure, VisitInfo
from ..instruments import InstrumentError, load_instrument

if TYPE_CHECKING:
    from prompt_processing.imaging.calibration.calibrate import CalibrateOptions

_VISIT = ("instrument", "visit", "detector")


class CalibrateImageConnections(PipelineTaskConnections, dimensions=_VISIT):
    """Snaps and reference stars as inputs; a calibrated image as output."""

    exposures = connectionTypes.Input(
        doc="Snaps of the visit without instrument signature, electrons.",
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
        doc="Subtracted background, nJy.",
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
        doc="Factor from electrons to nJy.",
        name="initial_photoCalib_detector",
        storageClass="PhotoCalib",
        dimensions=_VISIT,
    )


class CalibrateImageConfig(PipelineTaskConfig, pipelineConnections=CalibrateImageConnections):
    """Options that are changed most often; the others are in `CalibrateOptions`."""

    backgroundBox = RangeField(dtype=int, doc="Width of the background's mesh, pixels.", default=128, min=16)
    detectionThreshold = RangeField(dtype=float, doc="Significance of detections.", default=5.0, min=1.0)
    psfOrder = RangeField(dtype=int, doc="Highest degree of the PSF's variation.", default=3, min=0, max=5)
    maxPointingOffset = RangeField(dtype=float, doc="Largest pointing error, arcsec.", default=45.0, min=1.0)
    maxRotationOffset = RangeField(dtype=float, doc="Largest rotation error, degrees.", default=0.6, min=0.0)
    maxAstrometricRms = RangeField(
        dtype=float, doc="Largest acceptable rms of the astrometry, mas.", default=300.0, min=1.0
    )
    maxPhotometricScatter = RangeField(
        dtype=float, doc="Largest acceptable scatter about the zero point, mag.", default=0.3, min=0.01
    )
    doCosmicRays = Field[bool](doc="Look for cosmic rays again with the PSF.", default=True)
    colourTerms = DictField[str, str](
        doc="Magnitude in a physical filter as a formula of the catalogue's AB magnitudes, such as "
        "'r + 0.012 - 0.05 * (g - r)'. By default those of the instrument's description, or else the "
        "magnitude of the filter's band.",
        default={},
    )

    def validate(self) -> None:
        """Check that the colour terms are formulas."""
        super().validate()
        for formula in self.colourTerms.values():
            ColourTerm(formula)


class CalibrateImageTask(NumericsTask):
    """Calibrate a visit's image of one detector."""

    ConfigClass = CalibrateImageConfig
    _DefaultName = "calibrateImage"
    config: CalibrateImageConfig

    def run(
        self, exposures: Sequence[Exposure], reference_stars: Sequence[DeferredDatasetHandle], **_: Any
    ) -> Struct:
        """Calibrate the image of a visit.

        Parameters
        ----------
        exposures
            One or two snaps.
        reference_stars
            Shards of the reference catalogue.

        Returns
        -------
        result
            ``image``, ``background``, ``stars``, ``photo_calib``.

        Raises
        ------
        NoReferenceStarsError
            Raised if there is no shard for this part of the sky, no star with a flux in the band, or no
            column that the filter's colour term names.
        NumericalError
            Raised if the image cannot be calibrated; see `prompt_processing.imaging.errors`.
        """
        # Imported late: a worker is ready before it has the numerics.
        from prompt_processing.imaging.calibration.calibrate import calibrate_image

        if not reference_stars:
            raise NoReferenceStarsError("The reference catalogue has no shard at the image's position")
        first = exposures[0]
        if first.visit_info is None:
            raise ValueError("The image has no visit information.")
        reference = vstack([handle.get() for handle in reference_stars], metadata_conflicts="silent")
        reference = at_epoch(reference, first.visit_info.mid_mjd_tai)
        band = first.visit_info.band
        formula = self._colour_term(first.visit_info)
        if formula is not None:
            reference = _with_colour_term(reference, formula, band)
        else:
            reference = self._with_nearest_band(reference, band)
        result = calibrate_image(exposures, reference, band, options=self._options())
        for name, value in result.summary.items():
            self.metadata[name] = value
        self.log.info(
            "Seeing %.2f arcsec, zero point %.3f, astrometric rms %.0f mas, %d sources.",
            result.summary["seeing_fwhm_arcsec"], result.summary["zero_point_mag"],
            result.summary["astrometric_rms_mas"], result.summary["n_sources"],
        )  # fmt: skip
        return Struct(
            image=result.exposure,
            background=result.background,
            stars=result.stars,
            photo_calib=result.photo_calib,
        )

    def _with_nearest_band(self, reference: Table, band: str) -> Table:
        """Return a catalogue that lacks a band with the fluxes of the nearest in its place."""
        known = {
            name.removesuffix("_flux")
            for name in reference.colnames
            if name.endswith("_flux") and np.isfinite(np.asarray(reference[name], float)).any()
        }
        nearest = nearest_band(band, known)
        if nearest is None or nearest == band:
            return reference
        self.log.warning(
            "The reference catalogue has no %s magnitudes: those in %s serve instead, without a colour term. "
            "Declare one in colour_terms of the instrument.",
            band, nearest,
        )  # fmt: skip
        self.metadata["reference_band"] = nearest
        return _with_colour_term(reference, nearest, band)

    def _colour_term(self, info: VisitInfo) -> str | None:
        """Return the formula of a filter: that of the configuration, or of the instrument's description."""
        if (formula := self.config.colourTerms.get(info.physical_filter)) is not None:
            return formula
        try:
            return load_instrument(info.instrument).document.colour_terms.get(info.physical_filter)
        except InstrumentError:
            # An instrument of another software has no description here.
            return None

    def _options(self) -> CalibrateOptions:
        from prompt_processing.imaging.calibration.astrometry import AstrometryOptions
        from prompt_processing.imaging.calibration.calibrate import CalibrateOptions
        from prompt_processing.imaging.calibration.photometry import PhotometryOptions
        from prompt_processing.imaging.calibration.psf.model import PsfOptions

        config = self.config
        defaults = CalibrateOptions()
        return replace(
            defaults,
            background_box=config.backgroundBox,
            detection_threshold=config.detectionThreshold,
            psf=PsfOptions(order=config.psfOrder),
            astrometry=AstrometryOptions(
                max_offset_arcsec=config.maxPointingOffset,
                max_rotation_deg=config.maxRotationOffset,
                max_rms_mas=config.maxAstrometricRms,
            ),
            photometry=PhotometryOptions(max_scatter=config.maxPhotometricScatter),
            cosmic_rays=defaults.cosmic_rays if config.doCosmicRays else None,
        )


def _with_colour_term(reference: Table, formula: str, band: str) -> Table:
    """Return the catalogue with the filter's fluxes in place of those of its band."""
    try:
        flux, error = ColourTerm(formula).apply(reference)
    except LookupError as missing:
        raise NoReferenceStarsError(str(missing.args[0]), band=band) from missing
    changed = reference.copy(copy_data=False)
    changed[f"{band}_flux"], changed[f"{band}_fluxErr"] = flux, error
    return changed
