"""The demo's pictures: cutouts, residuals, the time line, and missed and spurious sources."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from astropy.io import fits
from matplotlib.figure import Figure
from numpy.typing import NDArray

from prompt_processing.butler.formatters import read_image
from prompt_processing.butler.opening import open_repository
from prompt_processing.domain.outcome import STAGES
from prompt_processing.images import UNUSABLE, Exposure

from .alerts import decode_alert
from .discrepancy_sheet import draw_discrepancies
from .results import DetectorVisit, NightResult, find_datasets
from .score import SNR_THRESHOLD, magnitude_histogram
from .world import World

__all__ = ["draw_cutouts", "draw_magnitudes", "draw_pictures", "draw_residuals", "draw_timeline"]

_N_CUTOUTS = 9
_RESIDUAL_BINS = 128
_COLOURS: dict[str, str] = dict(
    zip(STAGES, ("#b0b0b0", "#4c72b0", "#dddddd", "#55a868", "#c44e52", "#8172b2", "#ccb974"), strict=True)
)


def draw_pictures(result: NightResult, world: World) -> list[Path]:
    """Draw all pictures and return their files; call it after `.results.explain_discrepancies`."""
    folder = world.folders.pictures
    folder.mkdir(parents=True, exist_ok=True)
    mpl.rcParams.update({"font.size": 9, "image.origin": "lower", "image.interpolation": "nearest"})
    with ThreadPoolExecutor(1) as meanwhile:
        residuals = meanwhile.submit(draw_residuals, result, world)
        figures: dict[str, Figure | None] = {
            "timeline": draw_timeline(result),
            "magnitudes": draw_magnitudes(result.injected),
            "cutouts": draw_cutouts(result),
            "missed-and-spurious": draw_discrepancies(result.discrepancies),
        }
        figures["residuals"] = residuals.result()
    made = []
    for name, figure in figures.items():
        if figure is not None:
            path = folder / f"{name}.png"
            figure.savefig(path, dpi=110, bbox_inches="tight")
            made.append(path)
    return made


def draw_timeline(result: NightResult) -> Figure:
    """Draw the stages of each visit over time."""
    figure = Figure(figsize=(11, 1.6 + 0.35 * len(result.visits)), layout="constrained")
    axes = figure.subplots()
    zero = min((visit.announced for visit in result.visits), default=0.0)
    for row, visit in enumerate(result.visits):
        axes.plot([visit.arrived - zero] * 2, [row - 0.45, row + 0.45], color="black", lw=1.5, zorder=2)
        if visit.outcome is None:
            continue
        for name, begin, seconds in visit.outcome.spans(visit.announced):
            axes.barh(row, seconds, left=begin - zero, color=_COLOURS.get(name, "black"), height=0.7)
        if (alert := visit.outcome.details.get("last_alert")) is not None:
            axes.plot(alert - zero, row, marker="*", color="gold", mec="black", ms=11, zorder=3)
    axes.set_yticks(
        range(len(result.visits)), [f"visit {v.number}, {v.detector_name}" for v in result.visits]
    )
    axes.invert_yaxis()
    axes.set_xlabel("seconds since the first announcement")
    axes.set_title("The night: stages of each visit; line: image arrived; star: last alert out")
    handles = [mpl.patches.Patch(color=_COLOURS[stage], label=stage) for stage in STAGES]
    figure.legend(handles=handles, ncols=len(STAGES), loc="outside lower center")
    axes.grid(axis="x", alpha=0.3)
    return figure


def draw_magnitudes(injected: pd.DataFrame) -> Figure:
    """Draw how many injected sources were recovered and missed, by magnitude."""
    figure = Figure(figsize=(7, 3.6))
    axes = figure.subplots()
    counts = magnitude_histogram(injected, width=0.25)
    axes.bar(counts["mag"] + 0.125, counts["recovered"], 0.22, color="#55a868", label="recovered")
    axes.bar(
        counts["mag"] + 0.125,
        counts["missed"],
        0.22,
        bottom=counts["recovered"],
        color="#c44e52",
        label="missed",
    )
    axes.set_xlabel("AB magnitude of the change")
    axes.set_ylabel("injected sources")
    axes.set_title(f"Injected sources with S/N > {SNR_THRESHOLD:.0f}")
    axes.legend()
    return figure


def draw_cutouts(result: NightResult) -> Figure | None:
    """Draw the brightest transients as their alerts show them, science, template and difference."""
    chosen = _brightest(result)
    if not chosen:
        return None
    figure = Figure(figsize=(6.6, 2.1 * len(chosen)))
    grid = figure.subplots(len(chosen), 3, squeeze=False)
    for row, (visit, source, path) in enumerate(chosen):
        alert = decode_alert(path.read_bytes())
        images = [_cutout(alert[f"cutout{kind}"]) for kind in ("Science", "Template", "Difference")]
        # One scale for a row, or the template would look as bright as the science image.
        noise = 1.48 * float(np.nanmedian(np.abs(images[2] - np.nanmedian(images[2]))))
        top = max(float(np.nanpercentile(np.abs(images[2]), 99.7)), 8 * noise)
        for axes, image, name in zip(grid[row], images, ("science", "template", "difference"), strict=True):
            axes.imshow(
                np.arcsinh(image / (3 * noise)), vmin=-1.5, vmax=np.arcsinh(top / (3 * noise)), cmap="gray"
            )
            axes.set_xticks([])
            axes.set_yticks([])
            if row == 0:
                axes.set_title(name)
        label = f"{source['kind']}\n{source['mag']:.1f} mag\nS/N {source['measured_snr']:.0f}"
        grid[row][0].set_ylabel(
            f"{label}\nvisit {visit.number}, {visit.detector_name}", rotation=0, ha="right", va="center"
        )
    return figure


def draw_residuals(result: NightResult, world: World) -> Figure | None:
    """Draw the residuals of each detector's last subtraction, in units of the noise."""
    last: dict[int, DetectorVisit] = {visit.detector: visit for visit in result.visits}
    with open_repository(world.central_repository) as butler:
        refs = find_datasets(butler, world, "difference_image")
        images = {
            detector: read_image(butler, refs[visit.visit, detector])
            for detector, visit in last.items()
            if (visit.visit, detector) in refs
        }
    if not images:
        return None
    figure = Figure(figsize=(4.6 * len(images), 4.4))
    grid = figure.subplots(1, len(images), squeeze=False)[0]
    for axes, (detector, image) in zip(grid, images.items(), strict=True):
        binned, scatter = residual_map(image)
        shown = axes.imshow(binned, cmap="RdBu_r", vmin=-1, vmax=1)
        axes.set_title(
            f"{last[detector].detector_name}, visit {last[detector].number}: rms of pixels {scatter:.3f} σ"
        )
        axes.set_xticks([])
        axes.set_yticks([])
    figure.colorbar(shown, ax=list(grid), label="mean of difference / √variance", shrink=0.8)
    return figure


def residual_map(image: Exposure, n_bins: int = _RESIDUAL_BINS) -> tuple[NDArray[np.float64], float]:
    """Average a difference image in units of its noise over blocks of pixels.

    Parameters
    ----------
    image : `Exposure`
        The difference.
    n_bins : `int`
        Blocks along the longer side.

    Returns
    -------
    binned : `~numpy.ndarray`
        Mean of each block; NaN where it has no usable pixel.
    scatter : `float`
        Robust standard deviation of single pixels, 1 for a perfect subtraction.
    """
    usable = (image.mask & int(UNUSABLE)) == 0
    usable &= np.isfinite(image.image) & (image.variance > 0)
    ratio = np.where(usable, image.image / np.sqrt(np.where(usable, image.variance, 1)), 0)
    low, high = np.percentile(ratio[usable], [15.87, 84.13]) if usable.any() else (np.nan, np.nan)
    size = max(1, max(ratio.shape) // n_bins)
    height, width = ratio.shape[0] // size * size, ratio.shape[1] // size * size

    def blocks(array: NDArray[Any]) -> NDArray[np.float64]:
        cut = array[:height, :width].reshape(height // size, size, width // size, size)
        return np.asarray(cut.sum(axis=(1, 3)), float)

    # A few bright sources would otherwise dominate their blocks.
    total, count = blocks(np.clip(ratio, -5, 5)), blocks(usable)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan), float(high - low) / 2


def _brightest(result: NightResult) -> list[tuple[DetectorVisit, pd.Series[Any], Path]]:
    found = []
    for visit in result.visits:
        files = {alert.dia_source_id: alert.path for alert in visit.alerts if alert.n_cutouts == 3}
        recovered = visit.transients.expected[visit.transients.expected["recovered"]]
        # Variable stars are nearly as bright in the template; the cutouts are to show something new.
        for _, source in recovered[recovered["kind"] != "variable"].iterrows():
            if (path := files.get(int(source["diaSourceId"]))) is not None:
                found.append((visit, source, path))
    found.sort(key=lambda item: float(item[1]["mag"]))
    by_kind: dict[str, list[tuple[DetectorVisit, pd.Series[Any], Path]]] = {}
    seen: set[int] = set()
    for item in found:
        if int(item[1]["id"]) not in seen:
            seen.add(int(item[1]["id"]))
            by_kind.setdefault(str(item[1]["kind"]), []).append(item)
    # Some of each kind: asteroids are brighter than supernovae.
    ranked = [(rank, item) for items in by_kind.values() for rank, item in enumerate(items)]
    ranked.sort(key=lambda entry: (entry[0], str(entry[1][1]["kind"])))
    return [item for _, item in ranked[:_N_CUTOUTS]]


def _cutout(stamp: bytes) -> NDArray[np.float64]:
    with fits.open(io.BytesIO(stamp)) as hdus:
        image = next(hdu.data for hdu in hdus if hdu.data is not None and hdu.data.ndim == 2)
        return np.asarray(image, float)
