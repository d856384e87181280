"""A pipeline of negligible cost in three tasks: two for a detector, and one for a whole exposure."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from lsst.daf.butler import Butler, DatasetType
from lsst.pex.config import Field
from lsst.pipe.base import PipelineTask, PipelineTaskConfig, PipelineTaskConnections, Struct
from lsst.pipe.base import connectionTypes as ct  # noqa: N813

JOURNAL = "BATCH_JOURNAL"
"""Environment variable for the file to which each execution appends a line."""

TROUBLE = "BATCH_TROUBLE"
"""Environment variable for a file with the numbers for which the first task fails."""

_ED = ("instrument", "exposure", "detector")
_NUMBERS = "StructuredDataDict"

PIPELINE = """\
description: Arithmetic
tasks:
  double:
    class: batch_pipeline.DoubleTask
  negate:
    class: batch_pipeline.NegateTask
  add:
    class: batch_pipeline.AddTask
"""


def _note(line: str) -> None:
    with open(os.environ[JOURNAL], "a", encoding="utf-8") as stream:
        stream.write(line + "\n")


class DoubleConnections(PipelineTaskConnections, dimensions=_ED):
    """Connections of the first task."""

    number = ct.Input(name="number", storageClass=_NUMBERS, dimensions=_ED)
    doubled = ct.Output(name="doubled", storageClass=_NUMBERS, dimensions=_ED)


class DoubleConfig(PipelineTaskConfig, pipelineConnections=DoubleConnections):
    """Configuration of the first task."""

    seconds = Field[float](doc="Time that an execution takes.", default=0.0)


class DoubleTask(PipelineTask):
    """Double a number."""

    ConfigClass = DoubleConfig
    _DefaultName = "double"

    def run(self, number: dict[str, Any]) -> Struct:
        _note(f"double {number['n']} by {os.getpid()}")
        time.sleep(self.config.seconds)
        trouble = Path(os.environ.get(TROUBLE, ""))
        if trouble.is_file() and str(number["n"]) in trouble.read_text().split():
            raise ValueError(f"{number['n']} cannot be doubled")
        return Struct(doubled={"n": 2 * number["n"]})


class NegateConnections(PipelineTaskConnections, dimensions=_ED):
    """Connections of the second task."""

    doubled = ct.Input(name="doubled", storageClass=_NUMBERS, dimensions=_ED)
    negated = ct.Output(name="negated", storageClass=_NUMBERS, dimensions=_ED)


class NegateConfig(PipelineTaskConfig, pipelineConnections=NegateConnections):
    """Configuration of the second task."""


class NegateTask(PipelineTask):
    """Negate a number."""

    ConfigClass = NegateConfig
    _DefaultName = "negate"

    def run(self, doubled: dict[str, Any]) -> Struct:
        _note(f"negate {doubled['n']} by {os.getpid()}")
        return Struct(negated={"n": -doubled["n"]})


class AddConnections(PipelineTaskConnections, dimensions=("instrument", "exposure")):
    """Connections of the last task."""

    numbers = ct.Input(name="negated", storageClass=_NUMBERS, dimensions=_ED, multiple=True)
    total = ct.Output(name="total", storageClass=_NUMBERS, dimensions=("instrument", "exposure"))


class AddConfig(PipelineTaskConfig, pipelineConnections=AddConnections):
    """Configuration of the last task."""


class AddTask(PipelineTask):
    """Add the numbers of an exposure."""

    ConfigClass = AddConfig
    _DefaultName = "add"

    def run(self, numbers: list[dict[str, Any]]) -> Struct:
        total = sum(number["n"] for number in numbers)
        _note(f"add {total} by {os.getpid()}")
        return Struct(total={"n": total})


def make_repository(folder: Path, exposures: int, detectors: int) -> Path:
    """Make a repository with the numbers 0, 1, 2, ... in the run ``in``, detectors running fastest."""
    repo = folder / "repo"
    Butler.makeRepo(str(repo))
    with Butler.from_config(str(repo), run="in", writeable=True) as butler:
        butler.registry.insertDimensionData(
            "instrument",
            {
                "name": "Cam",
                "detector_max": 200,
                "exposure_max": 10**9,
                "visit_max": 10**9,
                "class_name": "x.Y",
            },
        )
        records: dict[str, list[dict[str, Any]]] = {
            "physical_filter": [{"name": "r", "band": "r"}],
            "day_obs": [{"id": 20260101}],
            "detector": [{"id": one, "full_name": f"d{one}"} for one in range(detectors)],
            "group": [{"name": f"g{one}"} for one in range(exposures)],
            "exposure": [
                {
                    "id": one,
                    "obs_id": f"e{one}",
                    "physical_filter": "r",
                    "day_obs": 20260101,
                    "group": f"g{one}",
                }
                for one in range(exposures)
            ],
        }
        for element, rows in records.items():
            butler.registry.insertDimensionData(element, *[{"instrument": "Cam", **row} for row in rows])
        number = DatasetType("number", _ED, _NUMBERS, universe=butler.dimensions)
        butler.registry.registerDatasetType(number)
        for exposure in range(exposures):
            for detector in range(detectors):
                value = {"n": exposure * detectors + detector}
                butler.put(value, number, instrument="Cam", exposure=exposure, detector=detector)
    return repo
