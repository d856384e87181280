"""Subtract pairs of real images, with this project and with others, and compare with what is known of them.

    python benchmarks/real_pairs.py FOLDER [--sets NAME ...] [--peers NAME ... | --no-peers] [--json FILE]

FOLDER holds one folder a set of images of one field. ``pairs.yaml`` in it lists its pairs and what changed::

    pairs:
      - science: night2.fits
        template: night1.fits[SCI]
        changes:                    # of this pair
          - {x: 272.6, y: 227.1}    # pixels of the science image; the centre of the first is 0, 0
        possible: true              # false: a person would not call this pair possible either
    changes:                        # of all pairs; needs a WCS
      - {ra: 146.29616, dec: 17.76250, radius: 3, sign: -1}

Paths are relative to the file. ``radius`` (pixels, 6 by default) is how far away a detection may be; with a
``sign``, a detection of the other sign does not count. All else with a reliability above 0.5 counts as
spurious. In a folder without this file, each image is compared with the first of the same filter.

Printed for each pair: whether it ran or why not; the seeing beside that of Gaussian fits to isolated stars,
which share no code with the project; residual over noise on the sky, at stars and at the brightest; the share
of the light that the match leaves (which is part of the noise); changes, known ones found, spurious ones; the
residual within one FWHM of stars in per cent of their light, with the noise's own share in brackets, for us
and for each peer; seconds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from astropy.table import Table
from chain_subtractors import SUBTRACTORS, subtract_with
from numpy.typing import NDArray
from scipy import ndimage, optimize

from prompt_processing.difference import DifferenceError, difference_images, open_image
from prompt_processing.difference.prepare import prepare
from prompt_processing.difference.register import register
from prompt_processing.images import UNUSABLE, Exposure, Mask

ENDINGS = (".fits", ".fit", ".fts", ".fits.gz", ".fit.gz", ".fits.fz", ".fits.bz2")
LIST = "pairs.yaml"
RELIABLE = 0.5
PEER_CPU_SECONDS = 300.0
FILTERS = ("FILTER", "FILTER1", "FILTERS", "FILTNAM")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two images, and what is known to have changed between them."""

    science: str
    template: str
    changes: list[dict[str, float]] = field(default_factory=list)
    possible: bool = True


@dataclass(slots=True)
class Row:
    """What came of a pair."""

    set: str
    science: str
    template: str
    possible: bool
    refused: str = ""
    seeing: list[float] = field(default_factory=list)
    fitted_seeing: list[float] = field(default_factory=list)
    sky: float = float("nan")
    stars: float = float("nan")
    bright: float = float("nan")
    model_error: float = 0.0
    changes: int = 0
    known: int = 0
    found: int = 0
    missed: list[str] = field(default_factory=list)
    spurious: int = 0
    seconds: float = 0.0
    left: dict[str, list[float]] = field(default_factory=dict)
    peers: dict[str, str] = field(default_factory=dict)


def read_sets(folder: Path, names: list[str] | None = None) -> dict[str, list[Pair]]:
    """Read the pairs of all sets below a folder; a folder of images alone is one set."""
    folders = sorted(path for path in folder.iterdir() if path.is_dir())
    if (folder / LIST).exists() or not any((path / LIST).exists() or _images(path) for path in folders):
        folders = [folder]
    sets = {}
    for path in folders:
        if names and path.name not in names:
            continue
        pairs = _listed(path) if (path / LIST).exists() else _unlisted(path)
        if pairs:
            sets[path.name] = pairs
    return sets


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name.lower().endswith(ENDINGS))


def _listed(folder: Path) -> list[Pair]:
    document: dict[str, Any] = yaml.safe_load((folder / LIST).read_text("utf-8"))
    return [
        Pair(
            str(folder / one["science"]),
            str(folder / one["template"]),
            list(document.get("changes", [])) + list(one.get("changes", [])),
            bool(one.get("possible", True)),
        )
        for one in document["pairs"]
    ]


def _unlisted(folder: Path) -> list[Pair]:
    first: dict[str, Path] = {}
    pairs = []
    for path in _images(folder):
        try:
            header = open_image(path).header
        except DifferenceError as error:
            print(f"{path}: {error}")
            continue
        band = next((str(header[key]) for key in FILTERS if key in header), "")
        if band in first:
            pairs.append(Pair(str(path), str(first[band])))
        first.setdefault(band, path)
    return pairs


def gaussian_seeing(name: str) -> float:
    """Return the FWHM of an image's stars (pixels) from elliptical Gaussians; NaN without any.

    Of the fitted sources, stars are those of the most common width that is not a single pixel's.
    """
    try:
        image = open_image(name).exposure.image.astype(float)
    except DifferenceError:
        return float("nan")
    finite = np.isfinite(image)
    image = np.where(finite, image, np.median(image[finite])) if finite.any() else np.zeros_like(image)
    image -= (
        ndimage.median_filter(image[::4, ::4], 15)
        .repeat(4, 0)
        .repeat(4, 1)[: image.shape[0], : image.shape[1]]
    )
    noise = 0.741 * float(np.subtract(*np.percentile(image[::3, ::3], [75, 25])))
    smooth = ndimage.gaussian_filter(image, 1.2)
    peaks = (smooth == ndimage.maximum_filter(smooth, 15)) & (smooth > 12 * noise)
    rows, columns = np.nonzero(peaks)
    order = np.argsort(-smooth[rows, columns])[:250]
    ceiling = 0.8 * float(image.max())
    y, x = np.mgrid[-10:11, -10:11]
    widths = []
    for row, column in zip(rows[order], columns[order], strict=True):
        part = image[row - 10 : row + 11, column - 10 : column + 11]
        if part.shape != (21, 21) or part[8:13, 8:13].max() > ceiling:
            continue

        def model(p: NDArray[np.float64], data: NDArray[np.float64] = part) -> NDArray[np.float64]:
            u, v = x - p[1], y - p[2]
            shape = u * u / p[3] ** 2 + v * v / p[4] ** 2 + 2 * p[5] * u * v / (p[3] * p[4])
            return np.asarray((p[0] * np.exp(-0.5 * np.clip(shape, 0, 200)) + p[6] - data).ravel())

        fit = optimize.least_squares(
            model, [part.max(), 0, 0, 2, 2, 0, 0], loss="soft_l1", f_scale=5 * noise, max_nfev=60
        )
        height, dx, dy, a, b, c, _ = fit.x
        if not 0.5 < height / part[8:13, 8:13].max() < 2:
            # Not a single source: a spike on a galaxy, or a gradient.
            continue
        if abs(c) < 0.95 and np.hypot(dx, dy) < 2 and min(abs(a), abs(b)) > 0.5 and max(abs(a), abs(b)) < 9:
            widths.append(2.3548 * np.sqrt(abs(a * b)) * (1 - c * c) ** -0.25)
    if len(widths) < 3:
        return float(np.median(widths)) if widths else float("nan")
    window = np.sort([width for width in widths if width > 1.5] or widths)
    while len(window) > 4:
        n = (len(window) + 1) // 2
        start = int(np.argmin(window[n - 1 :] - window[: len(window) - n + 1]))
        window = window[start : start + n]
    return float(np.mean(window))


def light_left(
    difference: NDArray[np.floating], science: Exposure, stars: Table, noise: NDArray[np.floating]
) -> list[float]:
    """Return the residual within one FWHM of bright stars, per cent of their light, and what noise leaves.

    Parameters
    ----------
    difference, noise : `~numpy.ndarray`
        A difference on the science image's flux scale, and the standard deviation of its pixels.
    science : `Exposure`
        The science image.
    stars : `~astropy.table.Table`
        Stars that both images show: ``x, y, snr``.
    """
    assert science.psf is not None
    radius = science.psf.fwhm_at()
    half = int(np.ceil(radius))
    j, i = np.mgrid[-half : half + 1, -half : half + 1]
    disc = np.hypot(j, i) <= radius
    unusable = science.has(UNUSABLE | Mask.SAT)
    shares = []
    for star in stars[np.argsort(-np.asarray(stars["snr"]))]:
        x, y = round(float(star["x"])), round(float(star["y"]))
        part = np.s_[y - half : y + half + 1, x - half : x + half + 1]
        if min(x, y) < half or science.image[part].shape != disc.shape or unusable[part].any():
            continue
        light, residual = science.image[part][disc].sum(), difference[part][disc]
        if light > 0 and np.isfinite(residual).all():
            # Of Gaussian noise, absolute values average 0.8 standard deviations.
            shares.append((np.abs(residual).sum() / light, 0.798 * noise[part][disc].sum() / light))
        if len(shares) == 60:
            break
    return [100 * float(value) for value in np.median(shares, axis=0)] if shares else [float("nan")] * 2


def run_pair(name: str, pair: Pair, peers: list[str], seconds: float) -> Row:
    """Subtract a pair with this project and with peers."""
    row = Row(name, Path(pair.science).name, Path(pair.template).name, pair.possible)
    row.fitted_seeing = [gaussian_seeing(pair.science), gaussian_seeing(pair.template)]
    start = time.perf_counter()
    try:
        result = difference_images(pair.science, pair.template)
    except DifferenceError as error:
        row.refused = str(error)
        return row
    row.seconds = time.perf_counter() - start
    summary = result.summary
    row.seeing = [float(summary["scienceFwhm"]), float(summary["templateFwhm"])]
    row.sky, row.stars, row.bright = (
        float(summary[key]) for key in ("residualSky", "residualStars", "residualBrightStars")
    )
    row.model_error = float(summary["modelError"])
    row.changes = len(result.sources)
    _judge(row, pair, result.sources, result.science)
    if not peers:
        return row
    opened = open_image(pair.science), open_image(pair.template)
    science = prepare(opened[0], True)
    template = prepare(opened[1], True, science.fwhm if np.isfinite(science.fwhm) else 3.5)
    registration = register(science, template)
    noise = np.sqrt(result.difference.variance)
    row.left["ours"] = light_left(result.difference.image, result.science, registration.stars, noise)
    bad = science.exposure.has(UNUSABLE | Mask.SAT) | registration.template.has(UNUSABLE | Mask.SAT)
    bad |= ~np.isfinite(registration.template.image)
    plain = np.sqrt(science.exposure.variance + np.nan_to_num(registration.template.variance))
    for peer in peers:
        with tempfile.TemporaryDirectory() as folder:
            done = subtract_with(
                peer, science.exposure.image, np.where(bad, 0, registration.template.image), bad,
                (science.fwhm, template.fwhm), Path(folder), seconds,
            )  # fmt: skip
        if done.difference is None:
            row.peers[peer] = done.remark
            continue
        row.peers[peer] = f"{done.seconds:.1f} s"
        row.left[peer] = light_left(done.difference, science.exposure, registration.stars, plain)
    return row


def _judge(row: Row, pair: Pair, sources: Table, science: Exposure) -> None:
    """Count known changes that were found, and reliable sources that are none."""
    x, y = (np.asarray(sources[axis], float) for axis in ("x", "y"))
    reliable = np.asarray(sources["reliability"], float) > RELIABLE
    explained = np.zeros(len(sources), bool)
    height, width = science.shape
    for change in pair.changes:
        if "ra" in change:
            if science.wcs is None:
                continue
            at = [float(v) for v in science.wcs.all_world2pix(change["ra"], change["dec"], 0)]
        else:
            at = [change["x"], change["y"]]
        if not (0 <= at[0] < width and 0 <= at[1] < height):
            continue
        near = np.hypot(x - at[0], y - at[1]) < change.get("radius", 6.0)
        explained |= near
        if "sign" in change:
            near &= np.sign(np.asarray(sources["psfFlux"], float)) == np.sign(change["sign"])
        row.known += 1
        if (near & reliable).any():
            row.found += 1
        else:
            scores = [float(value) for value in np.asarray(sources["reliability"])[near]]
            row.missed.append(
                f"({at[0]:.0f}, {at[1]:.0f})" + (f" scored {max(scores):.2f}" if scores else "")
            )
    row.spurious = int(np.count_nonzero(reliable & ~explained))


def described(row: Row) -> str:
    """Return the lines about a pair."""
    pair = f"{row.science} - {row.template}"
    seeing = ", ".join(f"{value:.2f}" for value in row.fitted_seeing)
    if row.refused:
        expected = "" if row.possible else " (as expected)"
        return f"{pair}\n    refused{expected}: {row.refused}\n    seeing of Gaussian fits {seeing} pixels"
    ours = ", ".join(f"{value:.2f}" for value in row.seeing)
    lines = [
        pair,
        f"    seeing {ours} pixels; of Gaussian fits {seeing}",
        f"    residual / noise {row.sky:.3f} on the sky, {row.stars:.2f} at stars, {row.bright:.2f} at the "
        f"brightest; the match leaves {100 * row.model_error:.1f} % of the light",
        f"    {row.changes} changes; known ones found {row.found} of {row.known}"
        + (f", missed {', '.join(row.missed)}" if row.missed else "")
        + f"; {row.spurious} others above {RELIABLE}; {row.seconds:.1f} s",
    ]
    left = [f"{name} {a:.1f} ({b:.1f})" for name, (a, b) in row.left.items()]
    if left:
        lines.append(f"    residual light, per cent (noise): {'; '.join(left)}")
    lines += [f"    {name}: {remark}" for name, remark in row.peers.items()]
    return "\n".join(lines)


def overall(rows: list[Row]) -> str:
    """Return the comparison with the goals."""
    possible = [row for row in rows if row.possible]
    ran = [row for row in possible if not row.refused]
    known, found = sum(row.known for row in ran), sum(row.found for row in ran)
    off = [
        abs(a / b - 1)
        for row in ran
        for a, b in zip(row.seeing, row.fitted_seeing, strict=True)
        if np.isfinite(a) and np.isfinite(b)
    ]
    spurious = sum(row.spurious for row in ran)
    return (
        f"{len(ran)} of {len(possible)} possible pairs ran; known changes found {found} of {known}; "
        f"{spurious} spurious above {RELIABLE}, {spurious / max(len(ran), 1):.1f} a pair (goal: under 1); "
        f"seeing within 10 % of the fits in {sum(value < 0.1 for value in off)} of {len(off)} images; "
        f"sky within 1.00 +- 0.03 in {sum(abs(row.sky - 1) <= 0.03 for row in ran)}, stars under 1.3 in "
        f"{sum(not row.stars >= 1.3 for row in ran)}, "
        f"brightest under 2 in {sum(not row.bright >= 2 for row in ran)}"
    )


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description="Subtract pairs of real images, with this project and others."
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", nargs="+", help="names of sets; all by default")
    parser.add_argument("--peers", nargs="+", choices=SUBTRACTORS, default=list(SUBTRACTORS))
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--seconds", type=float, default=PEER_CPU_SECONDS, help="CPU seconds for a peer")
    parser.add_argument("--json", type=Path, help="file for all numbers")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    for name, pairs in read_sets(arguments.folder, arguments.sets).items():
        print(f"\n{name}")
        for pair in pairs:
            rows.append(
                run_pair(name, pair, [] if arguments.no_peers else arguments.peers, arguments.seconds)
            )
            print(described(rows[-1]), flush=True)
    if not rows:
        parser.error(f"{arguments.folder} has no pair of images.")
    print(f"\n{overall(rows)}")
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))


if __name__ == "__main__":
    main()
