"""Score a difference and its catalogue against the truth."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from prompt_processing.imaging.difference.residuals import robust_sigma

MATCH_PIXELS = 3.0
RELIABLE = 0.05
"""DiaSources below this reliability count neither as found nor as spurious. The classifier also knows the
artefacts of real images, and gives faint sources of simulated ones, which have few, low values."""


@dataclass
class Score:
    """Counts and values of one or more scenes, which can be added."""

    bright: int = 0
    bright_found: int = 0
    faint: int = 0
    faint_found: int = 0
    real_bright: int = 0
    real_faint: int = 0
    spurious_bright: int = 0
    spurious_faint: int = 0
    residual_sky: list[float] = field(default_factory=list)
    residual_stars: list[float] = field(default_factory=list)
    residual_bright: list[float] = field(default_factory=list)
    whiteness: list[float] = field(default_factory=list)
    flux_ratio: list[float] = field(default_factory=list)
    flux_pull: list[float] = field(default_factory=list)
    position: list[float] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    def __add__(self, other: Score) -> Score:
        return Score(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def completeness(self) -> tuple[float, float]:
        """Completeness above S/N 10, and from 5 to 10."""
        return self.bright_found / max(self.bright, 1), self.faint_found / max(self.faint, 1)

    @property
    def spurious(self) -> tuple[float, float]:
        """Spurious sources per true one above S/N 10 and above S/N 5."""
        return (
            self.spurious_bright / max(self.real_bright, 1),
            (self.spurious_bright + self.spurious_faint) / max(self.real_bright + self.real_faint, 1),
        )


def score_catalogue(truth: Table, sources: Table) -> Score:
    """Match a catalogue to the truth.

    Parameters
    ----------
    truth : `~astropy.table.Table`
        ``x, y, electrons, kind, snr, clear``.
    sources : `~astropy.table.Table`
        ``x, y`` (pixels), ``snr``, ``electrons``, and ``electronsErr`` if known.
    """
    out = Score()
    points = np.asarray(truth["kind"]) == "transient"
    clear = np.asarray(truth["clear"], bool)
    snr = np.asarray(truth["snr"])
    if not len(sources):
        sources = Table({n: np.zeros(0) for n in ("x", "y", "snr", "electrons", "electronsErr")})
    places = np.column_stack([sources["x"], sources["y"]])
    true_places = np.column_stack([truth["x"], truth["y"]])
    tree = cKDTree(places) if len(places) else None
    for i in np.flatnonzero(points & clear & (snr > 5)):
        distance, index = tree.query(true_places[i]) if tree is not None else (np.inf, -1)
        found = distance < MATCH_PIXELS
        if snr[i] > 10:
            out.bright += 1
            out.bright_found += found
            if not found:
                out.missed.append(f"({truth['x'][i]:.0f}, {truth['y'][i]:.0f}) S/N {snr[i]:.0f}")
        else:
            out.faint += 1
            out.faint_found += found
        if found and snr[i] > 20:
            measured = float(sources["electrons"][index])
            out.flux_ratio.append(measured / float(truth["electrons"][i]))
            if "electronsErr" in sources.colnames:
                error = float(sources["electronsErr"][index])
                out.flux_pull.append((measured - float(truth["electrons"][i])) / error)
            if snr[i] > 50:
                out.position += list(places[index] - true_places[i])
    if tree is not None:
        distance, index = cKDTree(true_places).query(places)
        long_trails = np.asarray(truth["kind"])[index] == "mover"
        same_sign = np.sign(np.asarray(truth["electrons"])[index]) == np.sign(sources["electrons"])
        real = (distance < np.where(long_trails, 8, 4)) & same_sign
        bright = np.abs(np.asarray(sources["snr"])) > 10
        out.real_bright, out.real_faint = int((real & bright).sum()), int((real & ~bright).sum())
        out.spurious_bright, out.spurious_faint = int((~real & bright).sum()), int((~real & ~bright).sum())
    return out


def score_pixels(
    out: Score,
    difference: NDArray[np.float32],
    variance: NDArray[np.float32],
    usable: NDArray[np.bool_],
    stars: Table,
    truth: Table,
) -> None:
    """Add the residuals on the sky and at stars that did not change.

    Parameters
    ----------
    out : `Score`
        Score to update.
    difference, variance : `~numpy.ndarray`, shape (height, width)
        Difference in any unit, and its variance.
    usable : `~numpy.ndarray` of bool, shape (height, width)
        Pixels that are usable in both images.
    stars : `~astropy.table.Table`
        ``x, y, snr``, brightest first.
    truth : `~astropy.table.Table`
        Changed sources, which are left out.
    """
    usable = usable & np.isfinite(difference) & (variance > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(usable, difference / np.sqrt(variance), np.nan)
    near = np.zeros(difference.shape, bool)
    for row in truth:
        x, y = round(float(row["x"])), round(float(row["y"]))
        near[max(y - 9, 0) : y + 10, max(x - 9, 0) : x + 10] = True
    sky = ratio[usable & ~near]
    out.residual_sky.append(robust_sigma(sky))
    stamps = []
    for x, y in zip(np.rint(stars["x"]).astype(int), np.rint(stars["y"]).astype(int), strict=True):
        box = np.s_[y - 2 : y + 3, x - 2 : x + 3]
        part = ratio[box]
        if part.shape == (5, 5) and usable[box].all() and not near[box].any():
            stamps.append(part.ravel())
    if len(stamps) > 5:
        out.residual_stars.append(robust_sigma(np.concatenate(stamps)))
        out.residual_bright.append(robust_sigma(np.concatenate(stamps[: max(len(stamps) // 10, 3)])))
    quiet = np.where(usable & ~near & (np.abs(ratio) < 4), ratio, 0.0)
    power = float(np.mean(quiet**2))
    if power > 0:
        out.whiteness.append(float(np.mean(quiet[:, 1:] * quiet[:, :-1])) / power)


def grown(mask: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """Return a mask grown by some pixels."""
    return np.asarray(ndimage.binary_dilation(mask, iterations=pixels)) if pixels else mask
