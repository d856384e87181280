"""Convert measured sources to rows of the APDB's DiaSource table."""

from __future__ import annotations

from typing import Any

from astropy.table import Table
from astropy.time import Time
from lsst.pex.config import Field
from lsst.pipe.base import (
    PipelineTaskConfig,
    PipelineTaskConnections,
    Struct,
    connectionTypes,
)

from prompt_processing.apdb.tables import DEFAULT_SCHEMA, ApdbSchemas
from prompt_processing.association.standardize import standardize_dia_sources
from prompt_processing.domain.errors import NonRetriableError
from prompt_processing.tasks.numerics_task import NumericsTask

from ..images import Exposure

_DIMENSIONS = ("instrument", "visit", "detector")


class StandardizeDiaSourceConnections(PipelineTaskConnections, dimensions=_DIMENSIONS):
    """Measurements and scores as inputs; DiaSources as output."""

    dia_sources = connectionTypes.Input(
        doc="Measured sources that passed the filters.",
        name="dia_source_filtered",
        storageClass="ArrowAstropy",
        dimensions=_DIMENSIONS,
    )
    reliability = connectionTypes.Input(
        doc="Score of each source.",
        name="dia_source_reliability",
        storageClass="ArrowAstropy",
        dimensions=_DIMENSIONS,
        minimum=0,
    )
    # Not only its component: central repositories have it as an image of ``lsst-images``, which has no
    # component ``visitInfo``. At night the image is in memory.
    difference = connectionTypes.Input(
        doc="Difference image, with identity and time of the visit.",
        name="difference_image",
        storageClass="ExposureF",
        dimensions=_DIMENSIONS,
    )
    standardized = connectionTypes.Output(
        doc="Rows of the APDB's DiaSource table, not yet associated.",
        name="dia_source_detector",
        storageClass="DataFrame",
        dimensions=_DIMENSIONS,
    )


class StandardizeDiaSourceConfig(PipelineTaskConfig, pipelineConnections=StandardizeDiaSourceConnections):
    """Schema of the APDB."""

    schema_uri = Field[str](doc="URI of the APDB's schema.", default=DEFAULT_SCHEMA)


class StandardizeDiaSourceTask(NumericsTask):
    """Convert DiaSources to the columns, types and defaults of the APDB."""

    ConfigClass = StandardizeDiaSourceConfig
    _DefaultName = "standardizeDiaSource"
    config: StandardizeDiaSourceConfig

    def run(
        self, dia_sources: Table, difference: Exposure, reliability: Table | None = None, **_: Any
    ) -> Struct:
        """Convert the sources.

        Parameters
        ----------
        dia_sources : `~astropy.table.Table`
            Measurements, with the APDB's column names.
        difference
            Difference image, with identity and time of the visit.
        reliability : `~astropy.table.Table`, optional
            ``diaSourceId``, ``score``, ``version``.

        Returns
        -------
        result
            ``standardized``: `~pandas.DataFrame`.

        Raises
        ------
        NonRetriableError
            Raised if the image does not say to which visit it belongs.
        """
        if difference.visit_info is None:
            raise NonRetriableError("The difference image has no visit: its header lacks identity and time.")
        schemas = ApdbSchemas.load(self.config.schema_uri)
        result = standardize_dia_sources(
            dia_sources, reliability, difference.visit_info, schemas.dia_source, Time.now()
        )
        self.metadata["numDiaSources"] = len(result.sources)
        self.metadata["numUnplaceable"] = result.n_unplaceable
        return Struct(standardized=result.sources)
