"""Draw the pictures of doc/algorithms.md and doc/difference.md from simulated images.

    python doc/make_pictures.py [--folder doc/images]

Everything is made from fixed seeds: the pictures change only if the algorithms do.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from matplotlib.figure import Figure
from numpy.typing import NDArray
from picture_visit import draw_astrometry, draw_isr, make_visit

from prompt_processing.difference import DifferenceResult, difference_images
from prompt_processing.difference.picture import draw_difference
from prompt_processing.images import UNUSABLE, Exposure, Mask, Psf
from prompt_processing.imaging.calibration.background import estimate_sky
from prompt_processing.imaging.difference.subtraction import Subtraction, subtract
from prompt_processing.imaging.measurement.detect_and_measure import detect_and_measure
from prompt_processing.imaging.templates.warp import warp_template
from prompt_processing.simulation.pair import SimulatedPair, simulate_pair

ELECTRONS_PER_NJY, SKY_ELECTRONS = 1.7, 900.0


def show(axes: Any, image: NDArray[np.floating], title: str, limit: float | None = None) -> None:
    """Draw an image in grey, or in red and blue to a limit."""
    if limit is None:
        low, high = np.nanpercentile(image, [16, 84])
        scale = max(float(high - low) / 2, 1e-9)
        axes.imshow(np.arcsinh((image - low) / (3 * scale)), origin="lower", cmap="gray", vmax=4)
    else:
        axes.imshow(image, origin="lower", cmap="RdBu_r", vmin=-limit, vmax=limit)
    axes.set_title(title, fontsize=8)
    axes.set_xticks([])
    axes.set_yticks([])


def write_files(pair: SimulatedPair, folder: Path) -> tuple[Path, Path]:
    """Write a pair as the FITS files of some camera: electrons, sky and all."""
    paths = []
    for name, exposure in (("science", pair.science), ("template", pair.template)):
        header = exposure.wcs.to_header() if exposure.wcs is not None else fits.Header()
        header["GAIN"] = 1.0 if name == "science" else 4.0
        path = folder / f"{name}.fits"
        image = exposure.image * np.float32(ELECTRONS_PER_NJY) + np.float32(SKY_ELECTRONS)
        fits.PrimaryHDU(image, header).writeto(path)
        paths.append(path)
    return paths[0], paths[1]


def draw_background(pair: SimulatedPair) -> Figure:
    """Draw a sloping sky and what the mesh makes of it."""
    rows, columns = np.mgrid[: pair.science.shape[0], : pair.science.shape[1]]
    slope = (0.12 * rows + 40 * np.sin(columns / 260)).astype(np.float32)
    image = pair.science.image + slope
    sky = estimate_sky(image, None, 128).background.image()
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    axes = figure.subplots(1, 4)
    show(axes[0], image[::2, ::2], "image with a sloping sky")
    axes[1].imshow(sky, origin="lower")
    axes[1].set_title("mesh of modes, 3 x 3 median, spline", fontsize=8)
    show(axes[2], (image - sky)[::2, ::2], "less the sky")
    axes[3].plot(slope.mean(axis=1), label="true")
    axes[3].plot(sky.mean(axis=1), label="estimated")
    axes[3].legend(fontsize=7)
    axes[3].set_title("mean of each row", fontsize=8)
    return figure


def draw_psf(psf: Psf, shape: tuple[int, int]) -> Figure:
    """Draw a PSF over the image, and how it differs from that of the middle."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.subplots(2, 5)
    middle = psf.image_at(shape[1] / 2, shape[0] / 2)
    half = middle.shape[0] // 2
    part = np.s_[half - 9 : half + 10, half - 9 : half + 10]
    for column, (x, y) in enumerate(((0.05, 0.05), (0.05, 0.95), (0.5, 0.5), (0.95, 0.05), (0.95, 0.95))):
        image = psf.image_at(x * shape[1], y * shape[0])
        axes[0, column].imshow(np.sqrt(np.maximum(image[part], 0)), origin="lower", cmap="magma")
        axes[0, column].set_title(f"at ({x * shape[1]:.0f}, {y * shape[0]:.0f})", fontsize=8)
        show(axes[1, column], (image - middle)[part], "less the middle's", 0.1 * middle.max())
        axes[0, column].set_xticks([])
        axes[0, column].set_yticks([])
    return figure


def draw_warp(pair: SimulatedPair, template: Exposure) -> Figure:
    """Draw the template before and after, on the science image's pixels."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.subplots(1, 3)
    show(axes[0], pair.template.image[::3, ::3], "template on its own pixels")
    show(axes[1], template.image[::2, ::2], "warped (cubic spline)")
    show(axes[2], pair.science.image[::2, ::2], "science image")
    return figure


def draw_kernel(result: Subtraction, shape: tuple[int, int]) -> Figure:
    """Draw the kernel over the image and its sum."""
    kernel = result.kernel
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    parts = figure.subfigures(1, 2, width_ratios=[1, 1.2])
    axes = parts[0].subplots(3, 3)
    fractions = (0.05, 0.5, 0.95)
    for row, y in enumerate(reversed(fractions)):
        for column, x in enumerate(fractions):
            image = kernel.image_at(x * shape[1], y * shape[0])
            show(axes[row, column], image, "", float(np.abs(image).max()))
    parts[0].suptitle("kernel over the image", fontsize=9)
    y, x = (a.ravel() for a in np.mgrid[0 : shape[0] : 20j, 0 : shape[1] : 20j])
    sums = np.array([kernel.sum_at(a, b) for a, b in zip(x, y, strict=True)]).reshape(20, 20)
    right = parts[1].subplots()
    picture = right.imshow(sums, origin="lower", extent=(0, shape[1], 0, shape[0]))
    parts[1].colorbar(picture)
    right.set_title("its sum: the flux ratio", fontsize=9)
    return figure


def autocorrelation(image: NDArray[np.floating], usable: NDArray[np.bool_], reach: int = 6) -> NDArray[Any]:
    """Return the correlation of pixels by lag, faint pixels only."""
    data = np.where(usable & np.isfinite(image), image, 0)
    sigma = 1.4826 * np.median(np.abs(data[usable]))
    data = np.where(np.abs(data) < 4 * sigma, data, 0)
    power = np.abs(np.fft.rfft2(data)) ** 2
    full = np.fft.fftshift(np.fft.irfft2(power, data.shape))
    y, x = full.shape[0] // 2, full.shape[1] // 2
    part = full[y - reach : y + reach + 1, x - reach : x + reach + 1]
    return np.asarray(part / part[reach, reach])


def draw_noise(pair: SimulatedPair, result: Subtraction) -> Figure:
    """Draw the noise's correlation before and after whitening, and the residual's histogram."""
    difference = result.difference
    usable = (difference.mask & int(UNUSABLE | Mask.SAT_TEMPLATE)) == 0
    plain = pair.science.image - result.matched.image
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    axes = figure.subplots(1, 4)
    show(
        axes[0], difference.image[::2, ::2] / np.sqrt(difference.variance[::2, ::2]), "difference / noise", 6
    )
    show(axes[1], autocorrelation(plain, usable), "correlation, plainly subtracted", 0.05)
    show(axes[2], autocorrelation(difference.image, usable), "correlation, decorrelated", 0.05)
    bins = np.linspace(-6, 6, 97)
    ratio = difference.image[usable] / np.sqrt(difference.variance[usable])
    axes[3].hist(ratio, bins, density=True, histtype="stepfilled", alpha=0.6)
    middle = 0.5 * (bins[1:] + bins[:-1])
    axes[3].plot(middle, np.exp(-0.5 * middle**2) / np.sqrt(2 * np.pi), "k", lw=1)
    axes[3].set_yscale("log")
    axes[3].set_ylim(1e-6, 1)
    axes[3].set_title("residual / noise, and a Gaussian", fontsize=8)
    return figure


def with_examples(difference: Exposure) -> Exposure:
    """Return a copy with a dipole and two trails, where the sky is empty."""
    assert difference.psf is not None
    image = difference.image.copy()
    noise = float(np.sqrt(np.nanmedian(difference.variance)))
    turn = np.radians(35)
    points = [(300.2, 520.4, 1500.0), (302.1, 521.3, -1400.0)]
    points += [(470 + s * np.cos(turn), 90 + s * np.sin(turn), 60.0) for s in np.linspace(-7, 7, 29)]
    points += [(90 - s * np.sin(turn), 690 + s * np.cos(turn), 60.0) for s in np.linspace(-12, 12, 49)]
    for x, y, flux in points:
        stamp, x0, y0 = difference.psf.stamp_at(x, y)
        square = np.s_[y0 : y0 + stamp.shape[0], x0 : x0 + stamp.shape[1]]
        image[square] += (flux * noise * stamp).astype(np.float32)
    return Exposure(image, difference.mask.copy(), difference.variance, difference.wcs, difference.psf)


def draw_detection(result: Subtraction, pair: SimulatedPair) -> Figure:
    """Draw detections on the difference: footprints of both signs, a dipole, trails."""
    difference = with_examples(result.difference)
    sources = detect_and_measure(difference, pair.science, result.matched)
    x, y = np.asarray(sources["x"]), np.asarray(sources["y"])
    places = ((300, 520), (470, 90), (90, 690))
    rows = [int(np.argmin(np.hypot(x - a, y - b))) for a, b in places]
    rows += [row for row in range(len(sources)) if row not in rows][:9:3]
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    axes = figure.subplots(2, 6)
    for column, source in enumerate(sources[rows]):
        cut = difference.cutout(float(source["x"]), float(source["y"]), 51)
        show(axes[0, column], cut.image / np.sqrt(cut.variance), f"S/N {source['snr']:.0f}", 8)
        footprint = cut.has(Mask.DETECTED).astype(float) - cut.has(Mask.DETECTED_NEGATIVE)
        told = ""
        if source["isDipole"]:
            told = f"dipole, {source['dipoleLength']:.2f} arcsec"
        elif np.isfinite(source["trailLength"]):
            told = f"trail, {source['trailLength']:.1f} arcsec at {source['trailAngle']:.0f} deg"
        show(axes[1, column], footprint, told, 1)
        axes[1, column].title.set_fontsize(7)
    return figure


def draw_streak(pair: SimulatedPair, result: Subtraction) -> Figure:
    """Draw a satellite across a difference, and what is masked."""
    rows, columns = np.mgrid[: pair.science.shape[0], : pair.science.shape[1]]
    turn = np.radians(27)
    away = -(columns - 400) * np.sin(turn) + (rows - 500) * np.cos(turn)
    difference = result.difference
    noise = np.sqrt(np.nanmedian(difference.variance))
    crossed = Exposure(
        difference.image + (2.5 * noise * np.exp(-0.5 * (away / 2.2) ** 2)).astype(np.float32),
        difference.mask.copy(),
        difference.variance,
        difference.wcs,
        difference.psf,
    )
    detect_and_measure(crossed, pair.science, result.matched)
    figure = Figure(figsize=(6.5, 3.4), layout="constrained")
    axes = figure.subplots(1, 2)
    show(axes[0], crossed.image[::2, ::2] / noise, "difference with a faint satellite", 6)
    masked = np.where(crossed.has(Mask.STREAK), 0, crossed.image / noise)
    show(axes[1], masked[::2, ::2], "STREAK pixels left out", 6)
    return figure


def main() -> None:
    """Draw everything."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent / "images")
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    pair = simulate_pair(11, (1000, 1000), 0.95, 0.75, density=1.5, transients=8.0, template_rotation=25.0)
    with tempfile.TemporaryDirectory() as scratch:
        example: DifferenceResult = difference_images(*write_files(pair, Path(scratch)))
    draw_difference(example).savefig(folder / "difference.png", dpi=80, bbox_inches="tight")
    assert pair.science.wcs is not None
    template = warp_template([pair.template], pair.science.wcs, pair.science.shape)
    result = subtract(pair.science, template)
    figures = {
        "background": draw_background(pair),
        "warp": draw_warp(pair, template),
        "kernel": draw_kernel(result, pair.science.shape),
        "noise": draw_noise(pair, result),
        "detection": draw_detection(result, pair),
        "streak": draw_streak(pair, result),
    }
    visit = make_visit()
    figures |= {"isr": draw_isr(visit), "astrometry": draw_astrometry(visit)}
    if example.science.psf is not None:
        figures["psf"] = draw_psf(example.science.psf, example.science.shape)
    for name, figure in figures.items():
        figure.savefig(folder / f"algorithm_{name}.png", dpi=80)


if __name__ == "__main__":
    main()
