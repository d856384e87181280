"""Draw a metric of a visit over the focal plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lsst.daf.butler import DeferredDatasetHandle
from lsst.pex.config import Field
from lsst.pipe.base import PipelineTaskConfig, PipelineTaskConnections, Struct, connectionTypes

from prompt_processing.instruments.camera import Camera
from prompt_processing.tasks.calibration_connections import camera_input

from .focal_plane import metric_of_bundle, outline
from .plot_task import VISIT_DETECTOR, PlotTask, plot_output

__all__ = ["PlotFocalPlaneConfig", "PlotFocalPlaneConnections", "PlotFocalPlaneTask"]

_VISIT = ("instrument", "visit")


class PlotFocalPlaneConnections(
    PipelineTaskConnections, dimensions=_VISIT, defaultTemplates={"metric": "seeing"}
):
    """Metrics of the detectors as inputs; figure as output. The template ``metric`` names the figure."""

    metrics = connectionTypes.Input(
        doc="Metrics of a visit-detector.",
        name="alertProduction_metrics",
        storageClass="MetricMeasurementBundle",
        dimensions=VISIT_DETECTOR,
        multiple=True,
        deferLoad=True,
    )
    camera = camera_input()
    figure = plot_output("focal_plane_{metric}_plot", "A metric over the focal plane.", _VISIT)


class PlotFocalPlaneConfig(PipelineTaskConfig, pipelineConnections=PlotFocalPlaneConnections):
    """Which metric."""

    metric = Field[str](doc="Name of the metric in alertProduction_metrics.", default="seeing")


class PlotFocalPlaneTask(PlotTask):
    """Draw a metric over the focal plane."""

    ConfigClass = PlotFocalPlaneConfig
    _DefaultName = "plotFocalPlane"
    config: PlotFocalPlaneConfig

    def run(
        self, metrics: Sequence[DeferredDatasetHandle], camera: Camera, data_id: Mapping[str, Any], **_: Any
    ) -> Struct:
        """Draw.

        Parameters
        ----------
        metrics
            Handles of the detectors' metrics.
        camera
            Places of the detectors.
        data_id
            Data ID, for the title.

        Returns
        -------
        result
            ``figure``: `~matplotlib.figure.Figure`.
        """
        from .drawing import title_of
        from .focal_plane_figure import draw_focal_plane

        metric = self.config.metric
        found = {int(one.dataId["detector"]): metric_of_bundle(one.get(), metric) for one in metrics}
        unit = next((unit for _, unit in found.values() if unit), "")
        values = {detector: value for detector, (value, _) in found.items()}
        return Struct(
            figure=draw_focal_plane(
                outline(camera, values),
                f"{metric} ({unit})" if unit else metric,
                title_of(data_id, metric),
            )
        )
