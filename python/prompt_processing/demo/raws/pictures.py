"""Pictures of what the commands made: the camera, its calibrations, the template and the alerts."""

from __future__ import annotations

import io
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fastavro
import matplotlib as mpl
import numpy as np
import pandas as pd
from astropy.io import fits
from lsst.daf.butler import Butler
from matplotlib.figure import Figure
from numpy.typing import NDArray

from prompt_processing.butler.opening import open_repository
from prompt_processing.demo.pictures import draw_magnitudes
from prompt_processing.images import Exposure
from prompt_processing.images.photo_calib import NJY_ZERO_POINT
from prompt_processing.repository.figures_page import binned

from .score import WayScore, alert_files
from .story import NAME, Way

__all__ = ["draw_way"]

_N_CUTOUTS = 6
_CUTOUTS = ("cutoutScience", "cutoutTemplate", "cutoutDifference")


def draw_way(way: Way, score: WayScore) -> dict[str, Path]:
    """Draw the pictures.

    Returns
    -------
    pictures
        Files by the first words of the command that they belong to.
    """
    folder = way.root / "pictures"
    folder.mkdir(exist_ok=True)
    mpl.rcParams.update({"font.size": 9, "image.origin": "lower", "image.interpolation": "nearest"})
    made = {}
    for camera in sorted((way.root / "instrument-check").glob("*.png"))[:1]:
        made["instrument check"] = Path(shutil.copyfile(camera, folder / "1-camera.png"))
    with open_repository(way.repo) as butler:
        figures: Mapping[str, tuple[str, Figure | None]] = {
            "calibrations build": ("2-calibrations", _draw_calibrations(butler)),
            "templates build": ("3-template", _draw_template(butler)),
            "watch observatory/tonight": ("4-alerts", _draw_cutouts(way, score)),
            "score": ("5-magnitudes", draw_magnitudes(_injected(score))),
        }
    for command, (name, figure) in figures.items():
        if figure is not None:
            made[command] = folder / f"{name}.png"
            figure.savefig(made[command], dpi=100, bbox_inches="tight")
    return made


def _injected(score: WayScore) -> pd.DataFrame:
    return pd.concat([one.expected for one in score.nights.values()], ignore_index=True)


def _draw_calibrations(butler: Butler) -> Figure:
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    for axes, kind in zip(figure.subplots(1, 3), ("bias", "dark", "flat"), strict=True):
        (ref,) = butler.query_datasets(kind, f"{NAME}/calib/first/run")
        image: Exposure = butler.get(ref, storageClass="ExposureF")
        _show(axes, figure, binned(image.image), f"{kind} ({image.metadata.get('BUNIT', 'relative')})")
    return figure


def _draw_template(butler: Butler) -> Figure | None:
    refs = sorted(butler.query_datasets("template_coadd", f"{NAME}/templates/first"))
    if not refs:
        return None
    coadds: list[Exposure] = [butler.get(ref, storageClass="ExposureF") for ref in refs]
    best = max(coadds, key=lambda coadd: int(np.isfinite(coadd.image).sum()))
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    noise = float(np.sqrt(np.nanmedian(best.variance)))
    _show(left, figure, np.arcsinh(binned(best.image) / noise), "template: arcsinh(flux / noise)")
    area = 1.0 if best.psf is None else best.psf.effective_area_at(best.shape[1] / 2, best.shape[0] / 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = NJY_ZERO_POINT - 2.5 * np.log10(5 * np.sqrt(binned(best.variance) * area))
    _show(right, figure, np.where(np.isfinite(depth), depth, np.nan), "5-sigma depth (mag)")
    return figure


def _show(axes: Any, figure: Figure, image: NDArray[np.float64], title: str) -> None:
    low, high = np.nanpercentile(image, [1, 99])
    shown = axes.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-6))
    axes.set_title(title)
    axes.set_xticks([])
    axes.set_yticks([])
    figure.colorbar(shown, ax=axes, shrink=0.8)


def _draw_cutouts(way: Way, score: WayScore) -> Figure | None:
    """Draw the brightest changes that the template does not have, as their alerts show them."""
    expected = _injected(score)
    new = expected[expected["recovered"] & (expected["kind"] != "variable")].sort_values("mag")
    chosen = new.drop_duplicates("id")[:_N_CUTOUTS]
    alerts = _alerts(way, set(chosen["diaSourceId"]))
    chosen = chosen[chosen["diaSourceId"].isin(list(alerts))]
    if not len(chosen):
        return None
    figure = Figure(figsize=(2.1 * len(chosen), 6.6))
    grid = figure.subplots(3, len(chosen), squeeze=False)
    for column, (_, source) in enumerate(chosen.iterrows()):
        images = [_image(alerts[int(source["diaSourceId"])][name]) for name in _CUTOUTS]
        low, high = np.nanpercentile(images[2], [15.865, 84.135])
        noise = (high - low) / 2
        top = max(float(np.nanmax(images[2])), 8 * noise)
        for axes, image, name in zip(grid[:, column], images, _CUTOUTS, strict=True):
            scaled = np.arcsinh((image - np.nanmedian(image)) / (3 * noise))
            axes.imshow(scaled, vmin=-1.5, vmax=np.arcsinh(top / (3 * noise)), cmap="gray")
            axes.set_xticks([])
            axes.set_yticks([])
            if column == 0:
                axes.set_ylabel(name.removeprefix("cutout").lower())
        grid[0][column].set_title(
            f"{source['kind']}, {source['mag']:.1f} mag\nS/N {source['measured_snr']:.0f}"
        )
    return figure


def _alerts(way: Way, ids: set[int]) -> dict[int, Mapping[str, Any]]:
    found = {}
    for path in alert_files(way.root):
        with path.open("rb") as file:
            for alert in fastavro.reader(file):
                # Every record of an alert file is a mapping.
                record: Any = alert
                if record["diaSourceId"] in ids and all(record[name] for name in _CUTOUTS):
                    found[int(record["diaSourceId"])] = record
    return found


def _image(stamp: bytes) -> NDArray[np.float64]:
    with fits.open(io.BytesIO(stamp)) as hdus:
        return np.asarray(
            next(hdu.data for hdu in hdus if hdu.data is not None and hdu.data.ndim == 2), float
        )
