"""Read all outputs of a repository in an environment that has never heard of Prompt Processing.

Usage: read_outputs.py REPOSITORY
The type of each dataset's object is printed as a line of JSON, or the error.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections import UserDict
from types import ModuleType

from lsst.daf.butler import Butler


def stand_in_for_analysis_tools() -> None:
    """Put a type of lsst.analysis.tools, which is not on PyPI, into `sys.modules`."""

    class MetricMeasurementBundle(UserDict):  # type: ignore[type-arg]
        @classmethod
        def model_validate_json(cls, text: str) -> MetricMeasurementBundle:
            return cls(json.loads(text))

    for name in ("lsst.analysis", "lsst.analysis.tools", "lsst.analysis.tools.interfaces"):
        sys.modules[name] = ModuleType(name)
    sys.modules[name].MetricMeasurementBundle = MetricMeasurementBundle  # type: ignore[attr-defined]


stand_in_for_analysis_tools()

if importlib.util.find_spec("prompt_processing") is not None:
    sys.exit("This environment has prompt_processing: it proves nothing.")
found: dict[str, str] = {}
with Butler.from_config(sys.argv[1]) as butler:
    for ref in butler.query_all_datasets("*/prompt/*", find_first=False):
        try:
            found[ref.datasetType.name] = type(butler.get(ref)).__qualname__
        except Exception as error:  # noqa: BLE001
            found[ref.datasetType.name] = f"ERROR {type(error).__name__}: {error}"
print(json.dumps(found))
