"""Draw what a difference image leaves: its residuals and its DiaSources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from astropy.table import Table
from lsst.pipe.base import PipelineTaskConfig, PipelineTaskConnections, Struct, connectionTypes

from prompt_processing.images import Exposure

from .plot_task import VISIT_DETECTOR, PlotTask, plot_output
from .residuals import class_of_dia_sources, residual_histogram, residual_map

__all__ = ["PlotDifferenceConfig", "PlotDifferenceConnections", "PlotDifferenceTask"]


class PlotDifferenceConnections(PipelineTaskConnections, dimensions=VISIT_DETECTOR):
    """Difference image and catalogues as inputs; figures as outputs."""

    difference = connectionTypes.Input(
        doc="Science minus template, nJy.",
        name="difference_image",
        storageClass="ExposureF",
        dimensions=VISIT_DETECTOR,
    )
    stars = connectionTypes.Input(
        doc="Sources of the science image.",
        name="single_visit_star",
        storageClass="ArrowAstropy",
        dimensions=VISIT_DETECTOR,
        minimum=0,
    )
    dia_sources = connectionTypes.Input(
        doc="DiaSources as written to the APDB.",
        name="dia_source_apdb",
        storageClass="DataFrame",
        dimensions=VISIT_DETECTOR,
        minimum=0,
    )
    histogram = plot_output(
        "difference_residual_histogram_plot", "Histogram of the difference image over its noise."
    )
    map = plot_output("difference_residual_map_plot", "Median and scatter of the difference over its noise.")
    sources = plot_output("dia_source_map_plot", "DiaSources over the difference image, by class.")


class PlotDifferenceConfig(PipelineTaskConfig, pipelineConnections=PlotDifferenceConnections):
    """No options."""


class PlotDifferenceTask(PlotTask):
    """Draw residuals and DiaSources of a difference image."""

    ConfigClass = PlotDifferenceConfig
    _DefaultName = "plotDifference"
    config: PlotDifferenceConfig

    def run(
        self,
        difference: Exposure,
        data_id: Mapping[str, Any],
        stars: Table | None = None,
        dia_sources: pd.DataFrame | None = None,
        **_: Any,
    ) -> Struct:
        """Draw.

        Parameters
        ----------
        difference
            Difference image.
        data_id
            Data ID, for the titles.
        stars
            Sources of the science image.
        dia_sources
            Rows of the APDB's DiaSource table.

        Returns
        -------
        result
            ``histogram``, ``map``, ``sources``: `~matplotlib.figure.Figure`.
        """
        from .difference_figures import draw_dia_sources, draw_histogram, draw_map
        from .drawing import title_of

        sources = pd.DataFrame({"x": [], "y": []}, dtype=float) if dia_sources is None else dia_sources
        return Struct(
            histogram=draw_histogram(
                residual_histogram(difference, stars), title_of(data_id, "Residuals of the difference image")
            ),
            map=draw_map(
                residual_map(difference),
                difference.shape,
                title_of(data_id, "Residuals of the difference image over the detector"),
            ),
            sources=draw_dia_sources(
                difference.image,
                sources,
                class_of_dia_sources(sources),
                title_of(data_id, "DiaSources over the difference image"),
            ),
        )
