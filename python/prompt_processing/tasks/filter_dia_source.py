"""Keep DiaSources that may be real, and record why others are rejected."""

from __future__ import annotations

from collections import Counter
from typing import Any

from astropy.table import Table
from lsst.pex.config import Field
from lsst.pipe.base import (
    PipelineTaskConfig,
    PipelineTaskConnections,
    Struct,
    connectionTypes,
)

from prompt_processing.imaging.measurement.dia_filters import FilterOptions, filter_dia_sources
from prompt_processing.tasks.numerics_task import NumericsTask

_VISIT = ("instrument", "visit", "detector")


class FilterDiaSourceConnections(PipelineTaskConnections, dimensions=_VISIT):
    """All measured sources as input; kept and rejected sources as outputs."""

    sources = connectionTypes.Input(
        doc="All sources detected on the difference image.",
        name="dia_source_unfiltered",
        storageClass="ArrowAstropy",
        dimensions=_VISIT,
    )
    kept = connectionTypes.Output(
        doc="Sources that passed the filters.",
        name="dia_source_filtered",
        storageClass="ArrowAstropy",
        dimensions=_VISIT,
    )
    rejected = connectionTypes.Output(
        doc="Rejected sources, with the reason.",
        name="rejected_dia_source",
        storageClass="ArrowAstropy",
        dimensions=_VISIT,
    )


class FilterDiaSourceConfig(PipelineTaskConfig, pipelineConnections=FilterDiaSourceConnections):
    """Limits of the filters."""

    minimumSnr = Field[float](
        doc="Minimum signal-to-noise ratio of the PSF flux, of either sign.", default=5.0
    )


class FilterDiaSourceTask(NumericsTask):
    """Split DiaSources by simple criteria."""

    ConfigClass = FilterDiaSourceConfig
    _DefaultName = "filterDiaSource"
    config: FilterDiaSourceConfig

    def run(self, sources: Table, **_: Any) -> Struct:
        """Apply the filters.

        Parameters
        ----------
        sources : `~astropy.table.Table`
            Measurements.

        Returns
        -------
        result
            ``kept`` and ``rejected``, the latter with ``reason``.
        """
        kept, rejected = filter_dia_sources(sources, FilterOptions(minimum_snr=self.config.minimumSnr))
        self.metadata["numKept"] = len(kept)
        for reason, count in Counter(rejected["reason"].tolist()).items():
            self.metadata[f"numRejected {reason}"] = count
        return Struct(kept=kept, rejected=rejected)
