"""Compute the probability that a DiaSource is real."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from astropy.table import Table
from lsst.daf.butler import DeferredDatasetHandle
from lsst.pipe.base import (
    InMemoryDatasetHandle,
    PipelineTaskConfig,
    PipelineTaskConnections,
    Struct,
    connectionTypes,
)

from prompt_processing.butler.model_package import MODEL_FILE, ModelPackage
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
    package = connectionTypes.PrerequisiteInput(
        doc="Package of a pretrained model, used if it holds one of this project's and there is no other.",
        name="pretrainedModelPackage",
        storageClass="NNModelPackagePayload",
        dimensions=(),
        minimum=0,
        deferLoad=True,
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

    def run(
        self,
        sources: Table,
        model: Mapping[str, Any] | None = None,
        package: DeferredDatasetHandle | InMemoryDatasetHandle | None = None,
        **_: Any,
    ) -> Struct:
        """Compute the scores.

        Parameters
        ----------
        sources : `~astropy.table.Table`
            Measurements.
        model
            Fields of a `~prompt_processing.imaging.measurement.reliability.ReliabilityModel`; by default that
            in ``package``, else the one of this distribution.
        package
            Handle of a `~prompt_processing.butler.model_package.ModelPackage`.

        Returns
        -------
        result
            ``scores``.

        Raises
        ------
        UnusableModelError
            Raised if the model is made for other features.
        """
        if model is None and package is not None:
            model = self._model_in(package)
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

    def _model_in(self, package: DeferredDatasetHandle | InMemoryDatasetHandle) -> Mapping[str, Any] | None:
        """Return the fields of a model of this project in a package, if it has one."""
        try:
            found: ModelPackage = package.get()
        # The Butler wraps errors of readers in others.
        except Exception as error:  # noqa: BLE001
            self.log.warning(
                "The repository's pretrainedModelPackage cannot be read, and the packaged model is used: %s",
                error,
            )
            return None
        if found.fields is None:
            self.log.info(
                "The repository's pretrainedModelPackage holds a model of another program (%s), not %s; "
                "the model of this distribution is used.",
                ", ".join(found.files[:3]) or "no files",
                MODEL_FILE,
            )
        return found.fields
