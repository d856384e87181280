"""Preload the minor planets that may be in the visit's region."""

from __future__ import annotations

from typing import Any

from astropy.time import Time
from lsst.daf.butler import Timespan
from lsst.pex.config import Field
from lsst.pipe.base import (
    PipelineTaskConfig,
    PipelineTaskConnections,
    Struct,
    connectionTypes,
)
from lsst.pipe.base.utils import RegionTimeInfo
from lsst.sphgeom import LonLat

from prompt_processing.association.ephemerides import (
    EphemeridesUnavailableError,
    no_ephemerides,
    query_ephemerides,
)
from prompt_processing.tasks.connected_task import ConnectedTask

_DIMENSIONS = ("instrument", "group", "detector")


class MPSkyEphemerisQueryConnections(PipelineTaskConnections, dimensions=_DIMENSIONS):
    """Region as input; ephemerides as output."""

    region_time = connectionTypes.Input(
        doc="Predicted region and time of the visit-detector.",
        name="regionTimeInfo",
        storageClass="RegionTimeInfo",
        dimensions=_DIMENSIONS,
    )
    ss_objects = connectionTypes.Output(
        doc="Known minor planets near the region, with polynomials of their positions.",
        name="preloaded_ss_object",
        storageClass="ArrowAstropy",
        dimensions=_DIMENSIONS,
    )


class MPSkyEphemerisQueryConfig(PipelineTaskConfig, pipelineConnections=MPSkyEphemerisQueryConnections):
    """Service, and margin around the region."""

    url = Field[str](doc="Endpoint of the service; if empty, MP_SKY_URL of the process.", default="")
    margin_deg = Field[float](
        doc="Margin around the region, degrees: motion of 10 degrees per day for half an hour.", default=0.208
    )
    timeout_seconds = Field[float](
        doc="Timeout of the service; a visit has about 20 s before its image.", default=3.0
    )


class MPSkyEphemerisQueryTask(ConnectedTask):
    """Query mpSky for known minor planets; without a response, warn and return none."""

    ConfigClass = MPSkyEphemerisQueryConfig
    _DefaultName = "mpSkyEphemerisQuery"
    config: MPSkyEphemerisQueryConfig

    def run(self, region_time: RegionTimeInfo, **_: Any) -> Struct:
        """Query the service.

        Parameters
        ----------
        region_time
            Region and time of the visit-detector.

        Returns
        -------
        result
            ``ss_objects``: `~astropy.table.Table`.
        """
        url = self.config.url or self.connections.mp_sky_url
        objects = no_ephemerides()
        answered = False
        if not url:
            self.log.warning("MP_SKY_URL is not set: no solar-system object will be recognised.")
        else:
            circle = region_time.region.getBoundingCircle()
            centre = LonLat(circle.getCenter())
            try:
                objects = query_ephemerides(
                    url,
                    _middle_mjd_tai(region_time.timespan),
                    centre.getLon().asDegrees(),
                    centre.getLat().asDegrees(),
                    circle.getOpeningAngle().asDegrees() + self.config.margin_deg,
                    self.config.timeout_seconds,
                )
                answered = True
            except EphemeridesUnavailableError as exc:
                self.log.warning("No solar-system object will be recognised. %s", exc)
        self.log.info("%d known solar-system objects near the region.", len(objects))
        self.metadata["numSsObjects"] = len(objects)
        self.metadata["ephemeridesAnswered"] = answered
        return Struct(ss_objects=objects)


def _middle_mjd_tai(timespan: Timespan) -> float:
    if not isinstance(timespan.begin, Time) or not isinstance(timespan.end, Time):
        raise ValueError(f"The visit's time has no bounds: {timespan}.")
    return 0.5 * float(timespan.begin.tai.mjd + timespan.end.tai.mjd)
