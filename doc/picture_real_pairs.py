"""Draw the pictures of the page on real data, from measurements alone: no pixel of a frame is shown.

    python doc/picture_real_pairs.py FOLDER RESULTS.json

FOLDER and RESULTS are those of ``benchmarks/real_pairs.py FOLDER --json RESULTS.json``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import numpy as np
from matplotlib import pyplot as plt

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from real.sets import Pair, read_sets

from prompt_processing.difference import difference_images, open_image
from prompt_processing.difference.prepare import prepare
from prompt_processing.images import Mask
from prompt_processing.imaging.psf_flux import forced_psf_flux

IMAGES = Path(__file__).parent / "images"
STYLE = {"font.size": 8, "axes.titlesize": 9, "figure.dpi": 110, "axes.grid": True, "grid.alpha": 0.3}


def draw_overview(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw seeing against Gaussian fits, residuals over noise, and the light that the match leaves."""
    rows = [row for row in rows if not row["refused"] and row["sky"] > 0.5]
    figure, axes = plt.subplots(1, 3, figsize=(9, 3), layout="constrained")
    for number, name in enumerate(dict.fromkeys(row["set"] for row in rows)):
        own = [row for row in rows if row["set"] == name]
        ours, fits = (np.ravel([row[key] for row in own]) for key in ("seeing", "fitted_seeing"))
        colour = f"C{number}"
        axes[0].plot(fits, ours, "o", color=colour, markersize=4, label=name)
        places = [rows.index(row) for row in own]
        for key, marker in (("sky", "_"), ("stars", "o"), ("bright", "^")):
            axes[1].plot(places, [row[key] for row in own], marker, color=colour, markersize=4)
        axes[2].bar(places, [100 * row["model_error"] for row in own], color=colour)
    ends = [2, 9]
    axes[0].plot(ends, ends, color="grey", linewidth=0.8)
    axes[0].fill_between(
        ends, [0.9 * e for e in ends], [1.1 * e for e in ends], color="grey", alpha=0.2, lw=0
    )
    axes[0].set(xlabel="Gaussian fits (pixels)", ylabel="PSF model (pixels)", title="Seeing")
    axes[0].legend()
    for name, marker in (("sky", "_"), ("stars", "o"), ("brightest", "^")):
        axes[1].plot([], [], marker, color="0.4", markersize=4, label=name)
    axes[1].legend()
    axes[1].axhline(1.3, color="grey", linewidth=0.8)
    axes[1].set(xlabel="pair", title="Residual / noise", ylim=(0.6, 2))
    axes[2].set(xlabel="pair", ylabel="per cent", title="Light that the match leaves")
    figure.savefig(path)
    plt.close(figure)


def draw_event(pairs: list[Pair], path: Path) -> None:
    """Draw the PSFs of a series, and the flux of the known change against the template."""
    figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    names = [pairs[0].template, *[pair.science for pair in pairs[2::4][:3]]]
    for number, name in enumerate(names):
        psf = prepare(open_image(name), True).exposure.psf
        if psf is None:
            continue
        image = psf.image_at(psf.x_centre, psf.y_centre)
        half = image.shape[0] // 2
        offsets = np.arange(-half, half + 1)
        axes[0].contour(offsets, offsets, image / image.max(), [0.2, 0.5], colors=f"C{number}")
        axes[0].plot([], [], color=f"C{number}", label=Path(name).name.split(".")[0][-4:])
    axes[0].set(xlim=(-7, 7), ylim=(-7, 7), aspect="equal", title="PSFs, at 50 and 20 % (pixels)")
    axes[0].legend(loc="upper right")
    for pair in pairs:
        places = [change for change in pair.changes if "x" in change]
        if not places:
            continue
        result = difference_images(pair.science, pair.template)
        flux, error, _ = forced_psf_flux(result.difference, places[0]["x"], places[0]["y"])
        day = float(str(result.header.get("MJD-OBS", "nan")))
        axes[1].errorbar(day, flux[0], error[0], fmt="o", color="C0", markersize=4)
    axes[1].axhline(0, color="grey", linewidth=0.8)
    axes[1].ticklabel_format(useOffset=False)
    axes[1].set(xlabel="MJD", ylabel="flux minus that of the template", title="The known event")
    figure.savefig(path)
    plt.close(figure)


def draw_defects(pair: Pair, path: Path) -> None:
    """Draw what was marked in both images, and what was detected."""
    result = difference_images(pair.science, pair.template)
    figure, axis = plt.subplots(figsize=(4.6, 4.4), layout="constrained")
    bad = result.difference.has(Mask.BAD | Mask.CR)
    rows, columns = np.nonzero(bad)
    axis.plot(columns, rows, ",", color="0.6")
    axis.plot([], [], "s", color="0.6", label="marked columns, pixels, cosmic rays", markersize=4)
    axis.plot(result.rejected["x"], result.rejected["y"], "x", color="C1", markersize=4, label="rejected")
    score = np.asarray(result.sources["reliability"])
    for good, colour, name in (
        (score > 0.5, "C2", "kept, above 0.5"),
        (score <= 0.5, "C0", "kept, below 0.5"),
    ):
        axis.plot(
            result.sources["x"][good], result.sources["y"][good], "o", mfc="none", color=colour, label=name
        )
    axis.set(
        aspect="equal",
        xlim=(0, bad.shape[1]),
        ylim=(0, bad.shape[0]),
        xlabel="x (pixels)",
        ylabel="y (pixels)",
    )
    axis.grid(visible=False)
    figure.legend(loc="outside lower center", ncols=2)
    figure.savefig(path)
    plt.close(figure)


def main() -> None:
    """Draw all pictures."""
    folder, results = map(Path, sys.argv[1:3])
    rows = json.loads(results.read_text())
    sets = read_sets(folder)
    with plt.rc_context(STYLE):
        draw_overview(rows, IMAGES / "real-overview.png")
        if "saao_crowded" in sets:
            draw_event(sets["saao_crowded"], IMAGES / "real-crowded.png")
        if "lt_ratcam" in sets:
            draw_defects(sets["lt_ratcam"][2], IMAGES / "real-sparse.png")


if __name__ == "__main__":
    main()
