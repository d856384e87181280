"""Alert production's place in the load: the same inputs and outputs, and hardly any work in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table
from lsst.pipe.base import (
    PipelineTask,
    PipelineTaskConfig,
    PipelineTaskConnections,
    Struct,
)
from lsst.pipe.base import connectionTypes as ct  # noqa: N813

from prompt_processing.images import Exposure

GROUP = ("instrument", "group", "detector")
VISIT = ("instrument", "visit", "detector")
EXPOSURE = ("instrument", "exposure", "detector")

HISTORY = (
    "preloaded_dia_object",
    "preloaded_dia_source",
    "preloaded_dia_forced_source",
    "preloaded_ss_object",
)
"""What preprocessing leaves, as tables."""

IMAGES = (
    "preliminary_visit_image",
    "template_detector",
    "template_matched",
    "difference_image_predetection",
    "difference_image",
)
"""What alert production leaves as images."""

TABLES = (
    "single_visit_star",
    "dia_source_unfiltered",
    "rejected_dia_source",
    "dia_source_reliability",
    "dia_source_detector",
    "dia_source_apdb",
    "dia_forced_source_apdb",
    "dia_object_apdb",
    "ss_source_detector",
)
"""What it leaves as tables."""

RECORDS = ("difference_kernel", "preliminary_visit_image_background", "apdb_marker")
"""What it leaves as small dictionaries."""

DATASETS_OF_A_VISIT = (
    len(HISTORY)
    + len(IMAGES)
    + len(TABLES)
    + len(RECORDS)
    # Metadata and log of both tasks, region and metrics of the preload.
    + 4
    + 2
)
"""How many datasets of each visit-detector are handed over."""

_SIDE = 24
_ROWS = 20


class HistoryConnections(PipelineTaskConnections, dimensions=GROUP):
    info = ct.Input(name="regionTimeInfo", storageClass="RegionTimeInfo", dimensions=GROUP)

    def __init__(self, *, config: Any = None) -> None:
        for name in HISTORY:
            setattr(self, name, ct.Output(name=name, storageClass="ArrowAstropy", dimensions=GROUP))


class HistoryConfig(PipelineTaskConfig, pipelineConnections=HistoryConnections):
    pass


class HistoryTask(PipelineTask):
    """Give tables of the past."""

    ConfigClass = HistoryConfig
    _DefaultName = "loadDiaCatalogs"

    def run(self, info: Any) -> Struct:
        return Struct(**{name: _table() for name in HISTORY})


def _calibration(name: str, storage_class: str, *dimensions: str) -> ct.PrerequisiteInput:
    return ct.PrerequisiteInput(
        name=name,
        storageClass=storage_class,
        dimensions=("instrument", *dimensions),
        isCalibration=True,
        deferLoad=True,
    )


class OutputsConnections(PipelineTaskConnections, dimensions=VISIT):
    raws = ct.Input(name="raw", storageClass="Exposure", dimensions=EXPOSURE, multiple=True, deferLoad=True)
    bias = _calibration("bias", "ExposureF", "detector")
    dark = _calibration("dark", "ExposureF", "detector")
    flat = _calibration("flat", "ExposureF", "detector", "physical_filter")
    defects = _calibration("defects", "Defects", "detector")
    camera = _calibration("camera", "Camera")
    stars = ct.PrerequisiteInput(
        name="reference_stars",
        storageClass="ArrowAstropy",
        dimensions=("skypix",),
        multiple=True,
        deferLoad=True,
    )
    sky_map = ct.Input(name="skyMap", storageClass="SkyMap", dimensions=("skymap",))
    templates = ct.Input(
        name="template_coadd",
        storageClass="ExposureF",
        dimensions=("skymap", "tract", "patch", "band"),
        multiple=True,
        deferLoad=True,
    )
    history = ct.Input(name=HISTORY[0], storageClass="ArrowAstropy", dimensions=GROUP)

    def __init__(self, *, config: Any = None) -> None:
        for names, storage_class in (
            (IMAGES, "ExposureF"),
            (TABLES, "ArrowAstropy"),
            (RECORDS, "StructuredDataDict"),
        ):
            for name in names:
                setattr(self, name, ct.Output(name=name, storageClass=storage_class, dimensions=VISIT))


class OutputsConfig(PipelineTaskConfig, pipelineConnections=OutputsConnections):
    pass


class OutputsTask(PipelineTask):
    """Give one small output of every type that alert production hands over."""

    ConfigClass = OutputsConfig
    _DefaultName = "alertProduction"

    def run(self, **inputs: Any) -> Struct:
        return Struct(
            **{name: Exposure.blank((_SIDE, _SIDE)) for name in IMAGES},
            **{name: _table() for name in TABLES},
            **{name: {"value": 1.0} for name in RECORDS},
        )


def write_pipelines(folder: Path) -> dict[str, str]:
    """Write the pipelines; paths by stem."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for stem, label, task in (
        ("Preprocessing", "loadDiaCatalogs", "HistoryTask"),
        ("ApPipe", "alertProduction", "OutputsTask"),
    ):
        path = folder / f"{stem}.yaml"
        path.write_text(f"description: {stem}\ntasks:\n  {label}: {__name__}.{task}\n")
        paths[stem] = str(path)
    return paths


def _table() -> Table:
    return Table({"id": np.arange(_ROWS), "flux": np.linspace(1.0, 2.0, _ROWS)})
