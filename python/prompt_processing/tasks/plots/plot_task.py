"""Base of tasks that draw."""

from __future__ import annotations

import importlib.util
from typing import Any

from lsst.pipe.base import connectionTypes

from prompt_processing.tasks.numerics_task import NumericsTask, repeatable_failures

__all__ = ["VISIT_DETECTOR", "PlotTask", "plot_output"]

VISIT_DETECTOR = ("instrument", "visit", "detector")


def plot_output(name: str, doc: str, dimensions: tuple[str, ...] = VISIT_DETECTOR) -> connectionTypes.Output:
    """Return the output of a figure."""
    return connectionTypes.Output(doc=doc, name=name, storageClass="Plot", dimensions=dimensions)


class PlotTask(NumericsTask):
    """Task whose ``run`` also takes the data ID, for titles."""

    def runQuantum(self, butlerQC: Any, inputRefs: Any, outputRefs: Any) -> None:  # noqa: N802
        """Run one quantum.

        Raises
        ------
        RuntimeError
            Raised if matplotlib is not installed.
        """
        if importlib.util.find_spec("matplotlib") is None:
            raise RuntimeError(
                f"{self.getName()} draws with matplotlib, which is not installed: "
                "pip install 'prompt-processing[flows]'"
            )
        data_id = dict(butlerQC.quantum.dataId.required)
        with repeatable_failures():
            butlerQC.put(self.run(data_id=data_id, **butlerQC.get(inputRefs)), outputRefs)
