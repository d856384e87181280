"""Compute the probability that a DiaSource is real."""

from __future__ import annotations

from typing import Any

from astropy.table import Table
from lsst.pipe.base import (
    PipelineTaskConfig,
    PipelineTaskConnections,
    Struct,
    connectionTypes,
)

from prompt_processing.imaging.measurement.reliability import ReliabilityModel
from prompt_processing.tasks.numerics_task import NumericsTask

_VISIT = ("instrument", "visit", "detector")


class ComputeReliabilityConnections(PipelineTaskConnections, dimensions=_VISIT):
    """Filtered sources as input; scores as output."""

    sources = connectionTypes.Input(
        doc="Sources that passed the filters.",
        name="dia_source_filtered",
        storageClass="ArrowAstropy",
        dimensions=_VISIT,
    )
    scores = connectionTypes.Output(
        doc="diaSourceId, score (0 to 1) and the model's version.",
        name="dia_source_reliability",
        storageClass="ArrowAstropy",
        dimensions=_VISIT,
    )


class ComputeReliabilityConfig(PipelineTaskConfig, pipelineConnections=ComputeReliabilityConnections):
    """No options: the model is part of the package, and each score carries its version."""


class ComputeReliabilityTask(NumericsTask):
    """Apply the reliability model."""

    ConfigClass = ComputeReliabilityConfig
    _DefaultName = "computeReliability"
    config: ComputeReliabilityConfig

    def run(self, sources: Table, **_: Any) -> Struct:
        """Compute the scores.

        Parameters
        ----------
        sources : `~astropy.table.Table`
            Measurements.

        Returns
        -------
        result
            ``scores``.
        """
        model = ReliabilityModel.load()
        scores = Table(
            {
                "diaSourceId": sources["diaSourceId"],
                "score": model.score(sources),
                "version": [model.version] * len(sources),
            },
            dtype=["i8", "f4", "U32"],
        )
        return Struct(scores=scores)
