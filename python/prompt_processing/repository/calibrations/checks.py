"""Judge calibrations before they are certified."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from lsst.daf.butler import Butler

from .build import Build

_NAMES = {
    "combineBias": "bias",
    "combineDark": "dark",
    "combineFlat": "flat",
    "findDefects": "defects",
    "photonTransfer": "gain",
    "measureCrosstalk": "crosstalk",
}
"""Calibration by the label of the task that makes it."""


@dataclass(frozen=True, slots=True)
class Check:
    """One judgement.

    Attributes
    ----------
    what
        The calibration.
    finding
        What was found, with its number.
    passed
        Whether the calibration may be certified.
    """

    what: str
    finding: str
    passed: bool


def check_build(butler: Butler, build: Build) -> list[Check]:
    """Judge all calibrations of a build.

    Parameters
    ----------
    butler
        The repository.
    build
        The calibrations.
    """
    checks: list[Check] = []
    for step in build.steps:
        for key, metadata in sorted(step.metadata.items(), key=str):
            values = metadata.get(step.label, metadata)
            name = f"{_NAMES.get(step.label, step.label)} of detector {' '.join(map(str, key))}"
            checks += _judged(step.label, name, values)
    checks += _gains(butler, build)
    return checks


def _judged(label: str, name: str, values: Mapping[str, Any]) -> Iterator[Check]:
    if label.startswith("combine"):
        rejected = np.atleast_1d(np.asarray(values["rejected_fraction"], float))
        worst = float(rejected.max())
        exposures = np.atleast_1d(np.asarray(values["exposures"]))
        yield Check(
            name,
            f"{int(values['frames'])} frames, at most {worst:.2%} of one rejected "
            f"(exposure {int(exposures[rejected.argmax()])})",
            worst < 0.1,
        )
    if label == "combineBias":
        yield Check(name, f"noise {values['noise']:.3g} ADU", values["noise"] > 0)
    if label == "combineDark":
        current = float(values["median"])
        yield Check(name, f"{current:.3g} ADU/s, noise {values['noise']:.3g} ADU/s", -1.0 < current < 500.0)
    if label == "combineFlat":
        low, high = float(values["percentile_1"]), float(values["percentile_99"])
        yield Check(
            name,
            f"response {low:.3f} to {high:.3f} (1 to 99 %), noise {values['noise']:.2%}",
            low > 0.2 and high < 3.0,
        )
    if label == "findDefects":
        share = float(values["fraction"])
        yield Check(name, f"{int(values['pixels'])} bad pixels, {share:.3%}", share < 0.05)


def _gains(butler: Butler, build: Build) -> Iterator[Check]:
    for ref in build.refs("photon_transfer"):
        table = butler.get(ref)
        name = f"gain of detector {ref.dataId['detector']}"
        nominal = int(np.sum(np.asarray(table["method"]) == "nominal"))
        if nominal:
            yield Check(name, f"{nominal} of {len(table)} amplifiers keep nominal values", True)
        measured = table[np.asarray(table["method"]) != "nominal"]
        if not len(measured):
            continue
        gain, error = np.asarray(measured["gain"], float), np.asarray(measured["gain_err"], float)
        noise = np.asarray(measured["read_noise"], float)
        relative = float(np.max(error / gain))
        yield Check(
            name,
            f"{gain.min():.3f} to {gain.max():.3f} electrons/ADU, error at most {relative:.2%}, "
            f"read noise {noise.min():.2f} to {noise.max():.2f} electrons",
            bool(np.all(gain > 0.02) and np.all(gain < 50) and relative < 0.1),
        )
