"""Preload the APDB's catalogues of the visit's region."""

from __future__ import annotations

from typing import Any

from lsst.pex.config import Field
from lsst.pipe.base import (
    PipelineTaskConfig,
    PipelineTaskConnections,
    Struct,
    connectionTypes,
)
from lsst.pipe.base.utils import RegionTimeInfo

from prompt_processing.apdb.preloaded_catalogs import load_dia_catalogs

from .apdb_task import ApdbTask

_DIMENSIONS = ("instrument", "group", "detector")


class LoadDiaCatalogsConnections(PipelineTaskConnections, dimensions=_DIMENSIONS):
    """Region as input; catalogues as outputs."""

    region_time = connectionTypes.Input(
        doc="Predicted region and time of the visit-detector.",
        name="regionTimeInfo",
        storageClass="RegionTimeInfo",
        dimensions=_DIMENSIONS,
    )
    dia_objects = connectionTypes.Output(
        doc="Last version of each DiaObject in the region.",
        name="preloaded_dia_object",
        storageClass="DataFrame",
        dimensions=_DIMENSIONS,
    )
    dia_sources = connectionTypes.Output(
        doc="DiaSources of these objects.",
        name="preloaded_dia_source",
        storageClass="DataFrame",
        dimensions=_DIMENSIONS,
    )
    dia_forced_sources = connectionTypes.Output(
        doc="DiaForcedSources of these objects.",
        name="preloaded_dia_forced_source",
        storageClass="DataFrame",
        dimensions=_DIMENSIONS,
    )


class LoadDiaCatalogsConfig(PipelineTaskConfig, pipelineConnections=LoadDiaCatalogsConnections):
    """APDB, and margin around the region."""

    apdb_config_uri = Field[str](
        doc="URI of the APDB's configuration; if empty, CONFIG_APDB of the process.", default=""
    )
    padding_arcsec = Field[float](
        doc="Margin around the predicted region for pointing errors, arcsec.", default=30.0
    )
    load_forced_sources = Field[bool](
        doc="Whether to read DiaForcedSources. Without, alerts lack that history.", default=True
    )


class LoadDiaCatalogsTask(ApdbTask):
    """Read DiaObjects and their history from the APDB."""

    ConfigClass = LoadDiaCatalogsConfig
    _DefaultName = "loadDiaCatalogs"
    config: LoadDiaCatalogsConfig

    def run(self, region_time: RegionTimeInfo, **_: Any) -> Struct:
        """Read the catalogues.

        Parameters
        ----------
        region_time
            Region and time of the visit-detector.

        Returns
        -------
        result
            ``dia_objects``, ``dia_sources``, ``dia_forced_sources``: `~pandas.DataFrame`.

        Raises
        ------
        RetriableError
            Raised if the APDB cannot be read.
        NonRetriableError
            Raised if no APDB is configured.
        """
        apdb = self.open_apdb(self.config.apdb_config_uri)
        catalogs = load_dia_catalogs(
            apdb,
            region_time.region,
            region_time.timespan.begin,
            self.config.padding_arcsec,
            forced_sources=self.config.load_forced_sources,
        )
        self.metadata["numDiaObjects"] = len(catalogs.objects)
        self.metadata["numDiaSources"] = len(catalogs.sources)
        self.metadata["numDiaForcedSources"] = len(catalogs.forced_sources)
        return Struct(
            dia_objects=catalogs.objects,
            dia_sources=catalogs.sources,
            dia_forced_sources=catalogs.forced_sources,
        )
