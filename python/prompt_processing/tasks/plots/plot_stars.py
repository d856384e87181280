"""Draw how well the stars of an image agree with its PSF and with the reference catalogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from astropy.table import Table, vstack
from lsst.daf.butler import DeferredDatasetHandle
from lsst.pipe.base import PipelineTaskConfig, PipelineTaskConnections, Struct, connectionTypes
from numpy.typing import NDArray

from prompt_processing.images import Exposure, VisitInfo
from prompt_processing.imaging.calibration.colour_terms import ColourTerm
from prompt_processing.imaging.calibration.reference_epoch import at_epoch
from prompt_processing.instruments import InstrumentError, load_instrument

from .plot_task import VISIT_DETECTOR, PlotTask, plot_output
from .stars import StarResiduals, psf_residuals, psf_shapes, star_residuals

__all__ = ["PlotStarsConfig", "PlotStarsConnections", "PlotStarsTask"]


class PlotStarsConnections(PipelineTaskConnections, dimensions=VISIT_DETECTOR):
    """Calibrated image and catalogues as inputs; figures as outputs."""

    image = connectionTypes.Input(
        doc="Calibrated and background-subtracted image, nJy.",
        name="preliminary_visit_image",
        storageClass="ExposureF",
        dimensions=VISIT_DETECTOR,
    )
    stars = connectionTypes.Input(
        doc="Sources measured on the image.",
        name="single_visit_star",
        storageClass="ArrowAstropy",
        dimensions=VISIT_DETECTOR,
    )
    reference_stars = connectionTypes.PrerequisiteInput(
        doc="Positions and fluxes of stars.",
        name="reference_stars",
        storageClass="ArrowAstropy",
        dimensions=("htm7",),
        multiple=True,
        deferLoad=True,
        minimum=0,
    )
    psf = plot_output(
        "psf_residual_plot", "PSF, what its stars leave of it, and its shape over the detector."
    )
    positions = plot_output("astrometric_residual_plot", "Residuals of the astrometry as arrows.")
    fluxes = plot_output("photometric_residual_plot", "Residuals of the zero point.")


class PlotStarsConfig(PipelineTaskConfig, pipelineConnections=PlotStarsConnections):
    """No options."""


class PlotStarsTask(PlotTask):
    """Draw residuals of PSF, astrometry and photometry."""

    ConfigClass = PlotStarsConfig
    _DefaultName = "plotStars"
    config: PlotStarsConfig

    def run(
        self,
        image: Exposure,
        stars: Table,
        data_id: Mapping[str, Any],
        reference_stars: Sequence[DeferredDatasetHandle] = (),
        **_: Any,
    ) -> Struct:
        """Draw.

        Parameters
        ----------
        image
            Calibrated image.
        stars
            Its sources.
        data_id
            Data ID, for the titles.
        reference_stars
            Shards of the reference catalogue; without them the figures of positions and fluxes say so.

        Returns
        -------
        result
            ``psf``, ``positions``, ``fluxes``: `~matplotlib.figure.Figure`.
        """
        from .drawing import title_of
        from .star_figures import draw_fluxes, draw_positions, draw_psf

        compared = _compared(stars, [handle.get() for handle in reference_stars], image.visit_info)
        band = "" if image.visit_info is None else image.visit_info.band
        return Struct(
            psf=draw_psf(
                psf_residuals(image, stars), psf_shapes(image), image.shape, title_of(data_id, "PSF")
            ),
            positions=draw_positions(compared, image.shape, title_of(data_id, "Residuals of the astrometry")),
            fluxes=draw_fluxes(compared, image.shape, band, title_of(data_id, "Residuals of the zero point")),
        )


def _compared(stars: Table, shards: Sequence[Table], info: VisitInfo | None) -> StarResiduals:
    if not shards or info is None:
        return star_residuals(stars, Table({"id": [], "ra": [], "dec": []}), np.zeros(0))
    reference = at_epoch(vstack(list(shards), metadata_conflicts="silent"), info.mid_mjd_tai)
    return star_residuals(stars, reference, _flux_in_filter(reference, info))


def _flux_in_filter(reference: Table, info: VisitInfo) -> NDArray[np.float64]:
    """Return the catalogue's flux with the colour term of the instrument; NaN without the columns for it."""
    try:
        formula = load_instrument(info.instrument).document.colour_terms.get(info.physical_filter)
    except InstrumentError:
        # An instrument of another software has no description here.
        formula = None
    try:
        if formula is not None:
            return np.asarray(ColourTerm(formula).apply(reference)[0], float)
        return np.asarray(reference[f"{info.band}_flux"], float)
    except LookupError:
        return np.full(len(reference), np.nan)
