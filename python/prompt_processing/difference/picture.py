"""One picture of a subtraction: the images, the brightest candidates, and the residual's histogram."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import Table
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..images import UNUSABLE, Mask
from .errors import UnusableOutputError
from .outputs import PICTURE_ENDINGS, replacing

if TYPE_CHECKING:
    from .difference import DifferenceResult

CANDIDATES = 8
"""Number of candidates shown."""

_BINS = np.linspace(-6, 6, 97)


def draw_difference(result: DifferenceResult, candidates: int = CANDIDATES) -> Figure:
    """Draw the images, the brightest candidates' cutouts and the residual's histogram."""
    shown = result.sources[np.argsort(-np.asarray(result.sources["snr"]))][:candidates]
    figure = Figure(figsize=(12, 3.4 if not len(shown) else 8.0), layout="constrained")
    heights = [3.2, 4.6] if len(shown) else [1.0]
    parts: Any = np.atleast_1d(np.asarray(figure.subfigures(len(heights), 1, height_ratios=heights)))
    if len(shown):
        _draw_candidates(parts[1], result, shown, candidates)
    panels = parts[0].subplots(1, 4)
    _show(panels[0], _binned(result.science.image), result.science.image)
    panels[0].set_title(f"science: {_short(result.summary['scienceFile'])}", fontsize=8, parse_math=False)
    _show(panels[1], _binned(result.matched.image), result.science.image)
    panels[1].set_title(
        f"matched template: {_short(result.summary['templateFile'])}", fontsize=8, parse_math=False
    )
    noise = np.sqrt(np.where(result.difference.variance > 0, result.difference.variance, np.nan))
    panels[2].imshow(
        _binned(result.difference.image / noise),
        origin="lower", cmap="RdBu_r", vmin=-6, vmax=6, interpolation="nearest",
    )  # fmt: skip
    _bare(panels[2])
    panels[2].set_title("difference / noise, -6 to 6", fontsize=8)
    for source in result.sources:
        panels[2].plot(
            *(value / _step(result.science.image) for value in _pixel(result, source)),
            "o", mec="black", mfc="none", ms=7, mew=0.6,
        )  # fmt: skip
    _histogram(panels[3], result)
    return figure


def write_picture(path: str | Path, result: DifferenceResult) -> None:
    """Write the picture of `draw_difference`, in the format of the file's suffix.

    Raises
    ------
    UnusableOutputError
        Raised if the suffix is not that of a picture, or the file cannot be written.
    """
    if not str(path).lower().endswith(PICTURE_ENDINGS):
        raise UnusableOutputError(f"{path}: a picture ends in {', '.join(PICTURE_ENDINGS)}.")
    with replacing(path) as temporary, warnings.catch_warnings():
        # matplotlib warns about characters that its font lacks; it draws boxes instead.
        warnings.simplefilter("ignore")
        draw_difference(result).savefig(temporary, dpi=110, bbox_inches="tight")


def _draw_candidates(figure: Any, result: DifferenceResult, shown: Table, columns: int) -> None:
    """Draw one column per candidate: science, template, difference."""
    half = int(np.clip(4 * float(result.summary["differenceFwhm"]) / _binning(result), 12, 30))
    grid = figure.subplots(3, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_visible(False)
    planes = {"science": result.science, "template": result.matched, "difference": result.difference}
    for column, source in enumerate(shown):
        x, y = _pixel(result, source)
        for row, (name, exposure) in enumerate(planes.items()):
            axes = grid[row, column]
            axes.set_visible(True)
            _show(axes, exposure.cutout(x, y, 2 * half + 1).image, exposure.image)
            if column == 0:
                axes.set_ylabel(name, fontsize=8)
        grid[0, column].set_title(
            f"({source['x']:.0f}, {source['y']:.0f})\n"
            f"S/N {source['snr']:.0f}, rel. {source['reliability']:.2f}",
            fontsize=7,
        )


def _binning(result: DifferenceResult) -> int:
    return int(result.summary.get("binning", 1))


def _pixel(result: DifferenceResult, source: Any) -> tuple[float, float]:
    """Return a source's position on the images, which may be binned."""
    factor = _binning(result)
    x, y = ((float(source[name]) - (factor - 1) / 2) / factor for name in ("x", "y"))
    return x, y


def _short(name: object, most: int = 28) -> str:
    """Return a file's name, shortened in the middle if it is too long for a panel's title."""
    text = str(name)
    return text if len(text) <= most else f"{text[: most // 2 - 1]}…{text[-(most // 2) :]}"


def _step(image: NDArray[np.float32], most: int = 500) -> int:
    return max(max(image.shape) // most, 1)


def _binned(image: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return every n-th pixel of an image, to draw it at about a screen's resolution."""
    step = _step(image)
    return image[::step, ::step]


def _bare(axes: Any) -> None:
    axes.set_xticks([])
    axes.set_yticks([])


def _show(axes: Any, image: NDArray[np.floating], whole: NDArray[np.float32]) -> None:
    finite = whole[::7, ::7][np.isfinite(whole[::7, ::7])]
    low, high = np.percentile(finite, [15.9, 84.1]) if finite.size else (0.0, 1.0)
    scale = float(high - low) / 2 or 1.0
    # Linear in the noise, logarithmic above, so that both faint and bright sources are visible.
    axes.imshow(
        np.arcsinh(image / (3 * scale)),
        origin="lower",
        cmap="gray",
        vmin=-1.2,
        vmax=4.0,
        interpolation="nearest",
    )
    _bare(axes)


def _histogram(axes: Any, result: DifferenceResult) -> None:
    difference = result.difference
    planes = int(UNUSABLE | Mask.SAT_TEMPLATE)
    usable = ((difference.mask & planes) == 0) & (difference.variance > 0) & np.isfinite(difference.image)
    ratio = difference.image[usable] / np.sqrt(difference.variance[usable])
    axes.hist(ratio, _BINS, histtype="stepfilled", color="#4c72b0", alpha=0.6, density=True)
    middle = 0.5 * (_BINS[1:] + _BINS[:-1])
    axes.plot(middle, np.exp(-0.5 * middle**2) / np.sqrt(2 * np.pi), "k-", lw=1)
    axes.set_yscale("log")
    axes.set_ylim(1e-7, 1)
    axes.set_title(
        f"residual / noise: sky {result.residuals.sky:.3f}, stars {result.residuals.stars:.2f}", fontsize=8
    )
    axes.tick_params(labelsize=7)
