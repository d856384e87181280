"""Datasets that the association of a visit reads and writes."""

from __future__ import annotations

from lsst.pipe.base import PipelineTaskConnections, connectionTypes

_DIMENSIONS = ("instrument", "visit", "detector")
_GROUP_DIMENSIONS = ("instrument", "group", "detector")


class AssociateApdbConnections(PipelineTaskConnections, dimensions=_DIMENSIONS):
    """Sources, images and preloaded catalogues as inputs; updated catalogues as outputs."""

    dia_sources = connectionTypes.Input(
        doc="Standardised DiaSources of the visit-detector.",
        name="dia_source_detector",
        storageClass="DataFrame",
        dimensions=_DIMENSIONS,
    )
    science = connectionTypes.Input(
        doc="Calibrated image.",
        name="preliminary_visit_image",
        storageClass="ExposureF",
        dimensions=_DIMENSIONS,
    )
    template = connectionTypes.Input(
        doc="Template, warped and matched to the image.",
        name="template_matched",
        storageClass="ExposureF",
        dimensions=_DIMENSIONS,
    )
    difference = connectionTypes.Input(
        doc="Image minus template.",
        name="difference_image",
        storageClass="ExposureF",
        dimensions=_DIMENSIONS,
    )
    exposures = connectionTypes.Input(
        doc="Never read: exposures link a visit to its group, and without them the visit would be joined "
        "to every group.",
        name="post_isr_image",
        storageClass="ExposureF",
        dimensions=("instrument", "exposure", "detector"),
        multiple=True,
        deferLoad=True,
    )
    preloaded_objects = connectionTypes.Input(
        doc="DiaObjects of the region before the visit.",
        name="preloaded_dia_object",
        storageClass="DataFrame",
        dimensions=_GROUP_DIMENSIONS,
    )
    preloaded_sources = connectionTypes.Input(
        doc="DiaSources of these objects.",
        name="preloaded_dia_source",
        storageClass="DataFrame",
        dimensions=_GROUP_DIMENSIONS,
    )
    preloaded_forced_sources = connectionTypes.Input(
        doc="DiaForcedSources of these objects.",
        name="preloaded_dia_forced_source",
        storageClass="DataFrame",
        dimensions=_GROUP_DIMENSIONS,
    )
    preloaded_ss_objects = connectionTypes.Input(
        doc="Known minor planets near the region.",
        name="preloaded_ss_object",
        storageClass="ArrowAstropy",
        dimensions=_GROUP_DIMENSIONS,
        minimum=0,
    )
    associated_sources = connectionTypes.Output(
        doc="DiaSources as written to the APDB.",
        name="dia_source_apdb",
        storageClass="DataFrame",
        dimensions=_DIMENSIONS,
    )
    forced_sources = connectionTypes.Output(
        doc="DiaForcedSources as written to the APDB.",
        name="dia_forced_source_apdb",
        storageClass="DataFrame",
        dimensions=_DIMENSIONS,
    )
    objects = connectionTypes.Output(
        doc="New versions of DiaObjects as written to the APDB.",
        name="dia_object_apdb",
        storageClass="DataFrame",
        dimensions=_DIMENSIONS,
    )
    ss_sources = connectionTypes.Output(
        doc="DiaSources of known minor planets, with the predictions.",
        name="ss_source_detector",
        storageClass="ArrowAstropy",
        dimensions=_DIMENSIONS,
    )
    metrics = connectionTypes.Output(
        doc="Seeing, zero point, depth, kernel, residuals and counts.",
        name="alertProduction_metrics",
        storageClass="MetricMeasurementBundle",
        dimensions=_DIMENSIONS,
    )
    marker = connectionTypes.Output(
        doc="Marks that the APDB has the visit-detector, or that there was nothing to write.",
        name="apdb_marker",
        storageClass="StructuredDataDict",
        dimensions=_DIMENSIONS,
    )
