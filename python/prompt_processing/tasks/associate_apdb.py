"""Associate a visit's DiaSources, write them to the APDB, and send the alerts."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import fields
from typing import Any

import pandas as pd
from astropy.table import Table
from astropy.time import Time
from lsst.dax.apdb import Apdb
from lsst.pex.config import Field
from lsst.pipe.base import (
    InputQuantizedConnection,
    OutputQuantizedConnection,
    PipelineTaskConfig,
    QuantumContext,
    Struct,
)

from prompt_processing.alerts.files import AlertFile, write_underway
from prompt_processing.alerts.packets import PreparedAlerts, newest_encoder
from prompt_processing.alerts.sender import AlertsOnDemand, send_alerts
from prompt_processing.apdb.claim import was_committed
from prompt_processing.apdb.tables import ApdbSchemas
from prompt_processing.apdb.write import AlreadyInApdbError, require_not_in_apdb, write_visit_detector
from prompt_processing.association.visit_quality import (
    VisitLimits,
    metric_bundle,
    require_sane_visit,
    visit_metrics,
)
from prompt_processing.tasks.numerics_task import repeatable_failures

from ..images import Exposure, VisitInfo
from .apdb_task import ApdbTask
from .associate_apdb_connections import AssociateApdbConnections


class AssociateApdbConfig(PipelineTaskConfig, pipelineConnections=AssociateApdbConnections):
    """Radii and circuit breakers; the APDB and the broker come from the process's settings by default."""

    apdb_config_uri = Field[str](
        doc="URI of the APDB's configuration; if empty, CONFIG_APDB of the process.", default=""
    )
    object_radius_arcsec = Field[float](
        doc="Largest distance of a DiaSource from its DiaObject, arcsec.", default=1.0
    )
    solar_system_radius_arcsec = Field[float](
        doc="Largest distance of a DiaSource from a minor planet's prediction, arcsec.", default=2.0
    )
    measure_forced_sources = Field[bool](
        doc="Whether to measure forced fluxes at the DiaObjects on the image.", default=True
    )
    produce_alerts = Field[bool](doc="Whether to create and send alerts.", default=True)
    continue_writes = Field[bool](
        doc="Whether a write of the same DiaSources, by an attempt whose process died since, counts as done. "
        "Only without alerts, which may have been sent.",
        default=False,
    )
    minimum_alert_reliability = Field[float](
        doc="Sources of lower reliability are written to the APDB without an alert.", default=0.0
    )
    alert_timeout_seconds = Field[float](
        doc="Seconds in which the broker must acknowledge a visit's alerts.", default=15.0
    )

    maximum_seeing = Field[float](
        doc="Circuit breaker: seeing, arcsec; 0 disables it, as for all below.", default=3.5
    )
    maximum_ellipticity = Field[float](doc="Circuit breaker: ellipticity of the PSF.", default=0.4)
    maximum_zero_point_scatter = Field[float](
        doc="Circuit breaker: scatter of stars about the zero point, mag.", default=0.2
    )
    maximum_astrometric_rms = Field[float](doc="Circuit breaker: rms of the astrometry, mas.", default=250.0)
    maximum_residual = Field[float](
        doc="Circuit breaker: scatter of the difference at stars over its noise.", default=3.0
    )
    minimum_usable_fraction = Field[float](
        doc="Circuit breaker: usable fraction of the difference.", default=0.02
    )
    maximum_dia_sources = Field[int](doc="Circuit breaker: DiaSources on a detector.", default=20_000)
    maximum_negative_share = Field[float](
        doc="Circuit breaker: share of negative DiaSources, among at least 100.", default=0.9
    )

    def visit_limits(self) -> VisitLimits:
        """Return the thresholds of the circuit breakers."""
        return VisitLimits(**{field.name: getattr(self, field.name) for field in fields(VisitLimits)})


class AssociateApdbTask(ApdbTask):
    """Task that writes to outside systems: the APDB once, then the alert stream."""

    ConfigClass = AssociateApdbConfig
    _DefaultName = "associateApdb"
    config: AssociateApdbConfig

    def runQuantum(  # noqa: N802 (the base class's name)
        self,
        butlerQC: QuantumContext,
        inputRefs: InputQuantizedConnection,
        outputRefs: OutputQuantizedConnection,
    ) -> None:
        """Write the outputs between the APDB and the alerts: the marker must not wait for a broker."""
        inputs = butlerQC.get(inputRefs)
        del inputs["exposures"]
        with repeatable_failures():
            result = self.write(**inputs)
        try:
            butlerQC.put(result, outputRefs)
        finally:
            # Sources in the APDB must be alerted, even if the disk is full or the worker is shutting down.
            self.send(result.prepared_alerts, result.alert_file, **inputs)

    def run(self, **inputs: Any) -> Struct:
        """Call `write` and `send`, for use outside a pipeline."""
        result = self.write(**inputs)
        self.send(result.prepared_alerts, result.alert_file, **inputs)
        return result

    def write(
        self,
        *,
        dia_sources: pd.DataFrame,
        science: Exposure,
        template: Exposure,
        difference: Exposure,
        preloaded_objects: pd.DataFrame,
        preloaded_sources: pd.DataFrame,
        preloaded_forced_sources: pd.DataFrame,
        preloaded_ss_objects: Table | None = None,
    ) -> Struct:
        """Associate, prepare the alerts, and write to the APDB.

        Parameters
        ----------
        dia_sources : `~pandas.DataFrame`
            Standardised DiaSources.
        science, template, difference
            Images in nJy, on the same pixels.
        preloaded_objects, preloaded_sources, preloaded_forced_sources : `~pandas.DataFrame`
            Catalogues that were read from the APDB before the visit.
        preloaded_ss_objects : `~astropy.table.Table`, optional
            Known minor planets.

        Returns
        -------
        result
            The output datasets, ``prepared_alerts``, and ``alert_file``, the alerts' copy on disk.

        Raises
        ------
        AlreadyInApdbError
            Raised if the visit-detector was written before; nothing is changed.
        AbsurdVisitError
            Raised if the visit's metrics trip a circuit breaker; nothing is changed.
        RetriableError
            Raised if the APDB failed and has no row of the visit-detector.
        NonRetriableError
            Raised if the APDB failed and may have rows of it.
        """
        # Imported late: a worker is ready before it has the numerics.
        from prompt_processing.association.associate_visit import PreloadedCatalogs, associate_visit

        visit_info = _visit_info(difference, science)
        visit, detector = visit_info.exposure, visit_info.detector
        metrics = visit_metrics(science.metadata, difference.metadata, dia_sources)
        require_sane_visit(metrics, self.config.visit_limits())
        apdb = self.open_apdb(self.config.apdb_config_uri)
        if not self._continues_writes:
            require_not_in_apdb(apdb, visit, detector)
        schemas = ApdbSchemas.of(apdb)
        processed = Time.now()
        preloaded = PreloadedCatalogs(
            preloaded_objects,
            preloaded_sources,
            preloaded_forced_sources,
            Table() if preloaded_ss_objects is None else preloaded_ss_objects,
        )
        associated = associate_visit(
            dia_sources,
            preloaded,
            difference,
            science,
            visit_info,
            schemas,
            processed,
            object_radius=self.config.object_radius_arcsec,
            solar_system_radius=self.config.solar_system_radius_arcsec,
            forced_photometry=self.config.measure_forced_sources,
        )
        # Alerts are prepared before the write, so that a catalogue that does not fit the packets fails first.
        prepared = alert_file = None
        if self.config.produce_alerts:
            content = associated.alert_content(
                visit_info.observation_reason or None,
                visit_info.target_name or None,
                self.config.minimum_alert_reliability,
            )
            prepared = newest_encoder().prepare(content)
            # They are on disk before the write, since a worker that is killed after it cannot send them.
            start = time.monotonic()
            alert_file = write_underway(
                self.connections.alert_stream.keep_directory,
                visit,
                detector,
                associated.sources["timeProcessedMjdTai"],
                prepared.alerts(difference, science, template),
            )
            self.metadata["alertsOnDiskSeconds"] = time.monotonic() - start
        try:
            written = write_visit_detector(
                apdb,
                visit,
                detector,
                processed,
                associated.objects,
                associated.sources,
                associated.forced_sources,
            )
        except AlreadyInApdbError as exc:
            written = self._continues_writes and _is_own_write(apdb, exc, associated.sources)
            if not written:
                if alert_file is not None:
                    alert_file.judge(exc)
                raise
        except BaseException as exc:
            # Also if the visit's time runs out: the file must record whether the APDB committed.
            if alert_file is not None:
                alert_file.judge(exc)
            raise
        counts = {
            "numDiaSources": len(associated.sources),
            "numNewDiaObjects": associated.n_new_objects,
            "numUpdatedDiaObjects": associated.n_updated_objects,
            "numForcedSources": len(associated.forced_sources),
            "numSsSources": len(associated.ss_sources),
            "numExpectedSsObjects": associated.n_ss_expected,
            "apdbWritten": written,
        }
        for name, count in counts.items():
            self.metadata[name] = count
        self.log.info(
            "%d DiaSources: %d in known DiaObjects, %d in new ones, %d of the solar system; "
            "%d forced sources.",
            counts["numDiaSources"],
            counts["numUpdatedDiaObjects"],
            counts["numNewDiaObjects"],
            counts["numSsSources"],
            counts["numForcedSources"],
        )
        marker = {"visit": visit, "detector": detector, "processed": processed.tai.isot, **counts}
        return Struct(
            associated_sources=associated.sources,
            forced_sources=associated.forced_sources,
            objects=associated.objects,
            ss_sources=Table.from_pandas(associated.ss_sources),
            metrics=metric_bundle(metrics),
            marker=marker,
            prepared_alerts=prepared,
            alert_file=alert_file,
        )

    @property
    def _continues_writes(self) -> bool:
        return self.config.continue_writes and not self.config.produce_alerts

    def send(
        self,
        prepared: PreparedAlerts | None,
        file: AlertFile | None = None,
        *,
        science: Exposure,
        template: Exposure,
        difference: Exposure,
        **_: Any,
    ) -> None:
        """Send the alerts; those that the broker does not accept are kept, and the task does not fail.

        Parameters
        ----------
        prepared
            Result of `write`; `None` if no alerts are produced.
        file
            Copy of the alerts on disk, from `write`.
        science, template, difference
            Images for the cutouts.
        """
        start = time.monotonic()
        sent = kept = 0
        last_acknowledged: float | None = None
        if prepared is not None:
            visit_info = _visit_info(difference, science)
            settings = dataclasses.replace(
                self.connections.alert_stream, timeout_seconds=self.config.alert_timeout_seconds
            )
            report = send_alerts(
                settings,
                visit_info.exposure,
                visit_info.detector,
                file or AlertsOnDemand(lambda: prepared.alerts(difference, science, template)),
                self.connections.alerts,
                file,
            )
            sent, kept, last_acknowledged = report.sent, report.kept, report.last_acknowledged
            self.log.info("%d alerts sent, %d kept.", sent, kept)
            self.metadata["numAlertsLost"] = report.lost
        on_disk = float(self.metadata.get("alertsOnDiskSeconds", 0.0))
        self.metadata["alertsSeconds"] = on_disk + time.monotonic() - start
        self.metadata["numAlertsSent"] = sent
        self.metadata["numAlertsKept"] = kept
        # Metadata cannot hold null: 0 means that nothing was acknowledged.
        self.metadata["alertsLastAckUnix"] = 0.0 if last_acknowledged is None else last_acknowledged


def _is_own_write(apdb: Apdb, present: AlreadyInApdbError, sources: pd.DataFrame) -> bool:
    """Return whether the APDB's rows are of these DiaSources, which have the time of their measurement."""
    times = sources["timeProcessedMjdTai"]
    return len(times) > 0 and was_committed(apdb, present.visit, present.detector, float(times.iloc[0]))


def _visit_info(difference: Exposure, science: Exposure) -> VisitInfo:
    visit_info = difference.visit_info or science.visit_info
    if visit_info is None:
        raise ValueError("Neither the difference nor the image has visit information.")
    return visit_info
