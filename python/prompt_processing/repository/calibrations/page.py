"""A page of figures and pictures about calibrations, to look at before they are used."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table
from lsst.daf.butler import Butler, DatasetRef

from prompt_processing.images import Exposure
from prompt_processing.repository.figures_page import MOST_PICTURES, binned, picture, table, write_html

from .build import Build
from .checks import Check

_PICTURES = ("bias", "dark", "flat")


def write_page(path: Path, butler: Butler, build: Build, checks: Sequence[Check]) -> None:
    """Write an HTML page that needs no other file.

    Parameters
    ----------
    path
        File to write.
    butler
        The repository.
    build
        The calibrations.
    checks
        Judgements of them.
    """
    parts = [f"<h1>Calibrations of {html.escape(build.camera.name)}</h1><p>{html.escape(build.run)}</p>"]
    rows = [(check.what, check.finding, "passed" if check.passed else "failed") for check in checks]
    failed = {number for number, check in enumerate(checks) if not check.passed}
    parts.append("<h2>Checks</h2>" + table(("calibration", "finding", "result"), rows, failed))
    if build.skipped:
        parts.append("<h2>Not made</h2>" + table(("step", "reason"), build.skipped.items()))
    for ref in build.refs("photon_transfer"):
        parts.append(f"<h2>Gain and read noise, detector {ref.dataId['detector']}</h2>")
        parts.append(_of_table(butler.get(ref)))
    for ref in build.refs("linearity"):
        parts.append(f"<h2>Linearity, detector {ref.dataId['detector']}</h2>" + _of_table(butler.get(ref)))
    for ref in build.refs("crosstalk_ratios"):
        parts.append(f"<h2>Crosstalk, detector {ref.dataId['detector']}</h2>" + _of_table(butler.get(ref)))
    parts.append("<h2>Frames</h2>")
    for step in build.steps:
        for key, metadata in sorted(step.metadata.items(), key=str):
            values = metadata.get(step.label, metadata)
            if "exposures" in values:
                parts.append(f"<h3>{step.label}, detector {' '.join(map(str, key))}</h3>")
                parts.append(_frames(values))
    pictured = [ref for name in _PICTURES for ref in sorted(build.refs(name))][:MOST_PICTURES]
    parts += [_picture(ref, butler.get(ref, storageClass="ExposureF")) for ref in pictured]
    write_html(path, "Calibrations", parts)


def _frames(values: dict[str, Any]) -> str:
    columns = [
        np.atleast_1d(np.asarray(values[name])) for name in ("exposures", "scales", "rejected_fraction")
    ]
    rows = [(str(int(a)), f"{b:.6g}", f"{c:.3%}") for a, b, c in zip(*columns, strict=True)]
    refused = values.get("refused", [])
    refused = [refused] if isinstance(refused, str) else refused
    notes = "".join(f"<p>Left out: {html.escape(str(one))}.</p>" for one in refused)
    return table(("exposure", "scale", "rejected"), rows) + notes


def _of_table(values: Table) -> str:
    def shown(value: Any) -> str:
        return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)

    return table(values.colnames, [[shown(value) for value in row] for row in values])


def _picture(ref: DatasetRef, exposure: Exposure) -> str:
    from matplotlib.figure import Figure

    image = binned(exposure.image)
    low, high = np.nanpercentile(image, [1, 99])
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.3, 1])
    shown = left.imshow(image, origin="lower", cmap="gray", vmin=low, vmax=max(high, low + 1e-6))
    left.set_xticks([])
    left.set_yticks([])
    figure.colorbar(shown, ax=left)
    values = exposure.image[np.isfinite(exposure.image)]
    span = np.percentile(values, [0.1, 99.9])
    right.hist(values.ravel(), bins=100, range=(float(span[0]), float(span[1]) + 1e-6), log=True)
    right.set_xlabel(str(exposure.metadata.get("BUNIT", "relative response")))
    named = " ".join(str(value) for value in ref.dataId.required_values)
    return picture(figure, f"{ref.datasetType.name} {named}")
