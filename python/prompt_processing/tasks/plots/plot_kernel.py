"""Draw a matching kernel and its variation over the detector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lsst.pipe.base import PipelineTaskConfig, PipelineTaskConnections, Struct, connectionTypes

from prompt_processing.images import MatchingKernel

from .plot_task import VISIT_DETECTOR, PlotTask, plot_output
from .residuals import kernel_variation

__all__ = ["PlotKernelConfig", "PlotKernelConnections", "PlotKernelTask"]


class PlotKernelConnections(PipelineTaskConnections, dimensions=VISIT_DETECTOR):
    """Kernel as input; figure as output."""

    kernel = connectionTypes.Input(
        doc="Kernel that matches the PSFs.",
        name="difference_kernel",
        storageClass="MatchingKernel",
        dimensions=VISIT_DETECTOR,
    )
    figure = plot_output("difference_kernel_plot", "Kernel, its sum and its shift over the detector.")


class PlotKernelConfig(PipelineTaskConfig, pipelineConnections=PlotKernelConnections):
    """No options."""


class PlotKernelTask(PlotTask):
    """Draw the matching kernel."""

    ConfigClass = PlotKernelConfig
    _DefaultName = "plotKernel"
    config: PlotKernelConfig

    def run(self, kernel: MatchingKernel, data_id: Mapping[str, Any], **_: Any) -> Struct:
        """Draw.

        Parameters
        ----------
        kernel
            Matching kernel.
        data_id
            Data ID, for the title.

        Returns
        -------
        result
            ``figure``: `~matplotlib.figure.Figure`.
        """
        from .difference_figures import draw_kernel
        from .drawing import title_of

        return Struct(figure=draw_kernel(kernel_variation(kernel), title_of(data_id, "Matching kernel")))
