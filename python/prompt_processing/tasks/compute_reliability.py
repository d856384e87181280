"""Compute the probability that a DiaSource is real."""

from __future__ import annotations

from collections.abc import Mapping
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
    """Filtered sources and optionally a model as inputs; scores as output."""

    sources = connectionTypes.Input(
        doc="Sources that passed the filters.",
        name="dia_source_filtered",
        storageClass="ArrowAstropy",
        dimensions=_VISIT,
    )
    model = connectionTypes.PrerequisiteInput(
        doc="Reliability model, preferred over the packaged one.",
        name="reliability_model",
        storageClass="StructuredDataDict",
        dimensions=("instrument",),
        minimum=0,
    )
    scores = connectionTypes.Output(
        doc="diaSourceId, score (0 to 1) and the model's version.",
        name="dia_source_reliability",
        storageClass="ArrowAstropy",
        dimensions=_VISIT,
    )


class ComputeReliabilityConfig(PipelineTaskConfig, pipelineConnections=ComputeReliabilityConnections):
    """No options: the model is a dataset or part of the package, and each score carries its version."""


class ComputeReliabilityTask(NumericsTask):
    """Apply the reliability model."""

    ConfigClass = ComputeReliabilityConfig
    _DefaultName = "computeReliability"
    config: ComputeReliabilityConfig

    def run(self, sources: Table, model: Mapping[str, Any] | None = None, **_: Any) -> Struct:
        """Compute the scores.

        Parameters
        ----------
        sources : `~astropy.table.Table`
            Measurements.
        model
            Fields of a `~prompt_processing.imaging.measurement.reliability.ReliabilityModel`; by default the
            packaged one.

        Returns
        -------
        result
            ``scores``.

        Raises
        ------
        UnusableModelError
            Raised if the model is made for other features.
        """
        chosen = ReliabilityModel.load() if model is None else ReliabilityModel.from_fields(model)
        scores = Table(
            {
                "diaSourceId": sources["diaSourceId"],
                "score": chosen.score(sources),
                "version": [chosen.version] * len(sources),
            },
            dtype=["i8", "f4", "U32"],
        )
        return Struct(scores=scores)
