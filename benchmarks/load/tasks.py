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

HISTORY = {
    "preloaded_dia_object": "DataFrame",
    "preloaded_dia_source": "DataFrame",
    "preloaded_dia_forced_source": "DataFrame",
    "preloaded_ss_object": "ArrowAstropy",
}
"""What preprocessing leaves, with its storage classes."""

OUTPUTS = {
    "preliminary_visit_image": "ExposureF",
    "template_detector": "ExposureF",
    "template_matched": "ExposureF",
    "difference_image_predetection": "ExposureF",
    "difference_image": "ExposureF",
    "single_visit_star": "ArrowAstropy",
    "dia_source_unfiltered": "ArrowAstropy",
    "dia_source_filtered": "ArrowAstropy",
    "rejected_dia_source": "ArrowAstropy",
    "dia_source_reliability": "ArrowAstropy",
    "ss_source_detector": "ArrowAstropy",
    "dia_source_detector": "DataFrame",
    "dia_source_apdb": "DataFrame",
    "dia_forced_source_apdb": "DataFrame",
    "dia_object_apdb": "DataFrame",
    "apdb_marker": "StructuredDataDict",
}
"""What alert production leaves."""

DATASETS_OF_A_VISIT = len(HISTORY) + len(OUTPUTS) + 4 + 2 + 2
"""How many datasets of each visit-detector are handed over, with metadata and log of both tasks, the region
and the metrics of the preload, and the provenance of both pipelines."""

_SIDE = 24
_ROWS = 20


class HistoryConnections(PipelineTaskConnections, dimensions=GROUP):
    info = ct.Input(name="regionTimeInfo", storageClass="RegionTimeInfo", dimensions=GROUP)

    def __init__(self, *, config: Any = None) -> None:
        for name, storage_class in HISTORY.items():
            setattr(self, name, ct.Output(name=name, storageClass=storage_class, dimensions=GROUP))


class HistoryConfig(PipelineTaskConfig, pipelineConnections=HistoryConnections):
    pass


class HistoryTask(PipelineTask):
    """Give tables of the past."""

    ConfigClass = HistoryConfig
    _DefaultName = "loadDiaCatalogs"

    def run(self, info: Any) -> Struct:
        return Struct(**{name: _product(storage_class) for name, storage_class in HISTORY.items()})


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
    history = ct.Input(name="preloaded_dia_object", storageClass="DataFrame", dimensions=GROUP)

    def __init__(self, *, config: Any = None) -> None:
        for name, storage_class in OUTPUTS.items():
            setattr(self, name, ct.Output(name=name, storageClass=storage_class, dimensions=VISIT))


class OutputsConfig(PipelineTaskConfig, pipelineConnections=OutputsConnections):
    pass


class OutputsTask(PipelineTask):
    """Give one small output of every type that alert production hands over."""

    ConfigClass = OutputsConfig
    _DefaultName = "alertProduction"

    def run(self, **inputs: Any) -> Struct:
        return Struct(**{name: _product(storage_class) for name, storage_class in OUTPUTS.items()})


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


def _product(storage_class: str) -> Any:
    table = Table({"id": np.arange(_ROWS), "flux": np.linspace(1.0, 2.0, _ROWS)})
    match storage_class:
        case "ExposureF":
            return Exposure.blank((_SIDE, _SIDE))
        case "DataFrame":
            return table.to_pandas()
        case "StructuredDataDict":
            return {"visit": 1}
    return table
