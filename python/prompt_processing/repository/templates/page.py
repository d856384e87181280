"""A page of figures and pictures about templates, to look at before they are used."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lsst.daf.butler import Butler

from prompt_processing.images import Exposure
from prompt_processing.images.photo_calib import NJY_ZERO_POINT
from prompt_processing.repository.figures_page import MOST_PICTURES, binned, picture, table, write_html

from .build import Patch, TemplateBuild
from .selection import Candidate

__all__ = ["write_page"]


def write_page(path: Path, butler: Butler, build: TemplateBuild, candidates: Sequence[Candidate]) -> None:
    """Write an HTML page that needs no other file.

    Parameters
    ----------
    path
        File to write.
    butler
        The repository.
    build
        The templates.
    candidates
        The images that were chosen or left out.
    """
    parts = [f"<h1>Templates of {html.escape(build.instrument)}</h1><p>{html.escape(build.run)}</p>"]
    parts.append("<h2>Patches</h2>" + table(_HEADINGS, map(_row, build.made)))
    if missing := len(build.patches) - len(build.made):
        parts.append(f"<p>{missing} more {_PATCHES[missing > 1]} too few visits for a template.</p>")
    for number, patch in enumerate(build.made):
        parts.append(f"<h2>{html.escape(patch.name)}</h2>")
        if number < MOST_PICTURES and patch.ref is not None:
            parts.append(_picture(patch, butler.get(patch.ref, storageClass="ExposureF")))
        parts.append(_layers(patch))
    rows = [
        (
            each.name, _shown(each.seeing, ".2f"), _shown(each.depth, ".2f"), _shown(each.background, ".0f"),
            each.left_out or "used",
        )
        for each in candidates
    ]  # fmt: skip
    names = ("image", "seeing, arcsec", "depth, mag", "background, electrons", "left out")
    parts.append("<h2>Images</h2>" + table(names, rows))
    write_html(path, "Templates", parts)


_HEADINGS = (
    "patch", "visits", "most and median epochs", "seeing, arcsec", "5-sigma depth, mag", "covered",
    "holes, pixels", "rejected, pixels",
)  # fmt: skip


_PATCHES = ("patch has", "patches have")


def _row(patch: Patch) -> tuple[str, ...]:
    figures = patch.figures
    return (
        # On one line.
        patch.name.replace(" ", "\N{NO-BREAK SPACE}"),
        str(int(figures["visits"])),
        f"{figures['epochs_most']:.0f}, {figures['epochs_median']:g}",
        _shown(figures.get("seeing_fwhm_arcsec"), ".2f"),
        _shown(figures.get("limiting_magnitude_5sigma"), ".2f"),
        f"{figures['coverage']:.1%}",
        str(int(figures["holes"])),
        str(int(figures["rejected_pixels"])),
    )


def _layers(patch: Patch) -> str:
    columns = [
        np.atleast_1d(np.asarray(patch.figures[name]))
        for name in ("names", "weights", "sky_offsets", "rejected", "fwhm_pixels")
    ]
    rows = [
        (str(name), f"{weight:.1%}", f"{sky:.3g}", f"{rejected:.3%}", f"{fwhm:.2f}")
        for name, weight, sky, rejected, fwhm in zip(*columns, strict=True)
    ]
    return table(("visit/detector", "weight", "sky subtracted, nJy/pixel", "rejected", "FWHM, pixels"), rows)


def _shown(value: Any, form: str) -> str:
    return "unknown" if value is None or not np.isfinite(value) else format(float(value), form)


def _picture(patch: Patch, coadd: Exposure) -> str:
    """Draw the template, and its depth; pixels without a value are red."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    noise = float(patch.figures["noise_njy"])
    image = np.arcsinh(binned(coadd.image) / noise)
    grey, depths = colormaps["gray"].with_extremes(bad="#b00"), colormaps["viridis"].with_extremes(bad="#b00")
    low, high = np.nanpercentile(image, [1, 99.7])
    left.imshow(image, origin="lower", cmap=grey, vmin=low, vmax=max(high, low + 1e-6))
    left.set_title("template")
    area = 1.0 if coadd.psf is None else coadd.psf.effective_area_at(coadd.shape[1] / 2, coadd.shape[0] / 2)
    depth = NJY_ZERO_POINT - 2.5 * np.log10(5 * np.sqrt(binned(coadd.variance) * area))
    shown = right.imshow(depth, origin="lower", cmap=depths, vmin=np.nanpercentile(depth, 1))
    right.set_title("5-sigma depth, mag")
    figure.colorbar(shown, ax=right)
    for axes in (left, right):
        axes.set_xticks([])
        axes.set_yticks([])
    return picture(figure, f"{patch.name}; pixels without a value are red")
