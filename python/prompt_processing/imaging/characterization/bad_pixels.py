"""Hot, dead and unsteady pixels, and bad columns, from combined frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from prompt_processing.images import Defects
from prompt_processing.images.robust import MAD_TO_SIGMA, robust_scatter


@dataclass(frozen=True, slots=True)
class DefectOptions:
    """What counts as a defect.

    Attributes
    ----------
    hot : `float`
        Least excess dark current, electrons per second. It adds the noise of a faint sky in 30 s.
    significance : `float`
        Least significance of any deviation, in standard deviations of its neighbourhood.
    dead, bright : `float`
        Response relative to the neighbourhood below and above which a pixel is bad.
    column_share : `float`
        Share of bad pixels that makes a whole run of a column bad.
    """

    hot: float = 5.0
    significance: float = 8.0
    dead: float = 0.6
    bright: float = 1.4
    column_share: float = 0.4


@dataclass(frozen=True, slots=True, eq=False)
class FoundDefects:
    """Defects and what they are.

    Attributes
    ----------
    defects : `Defects`
        Boxes.
    counts : `dict`
        Number of pixels by kind: ``hot``, ``dead``, ``bright``, ``bias``, and those added by ``columns``.
    mask : `~numpy.ndarray` of bool, shape (height, width)
    """

    defects: Defects
    counts: dict[str, int] = field(default_factory=dict)
    mask: NDArray[np.bool_] = field(default_factory=lambda: np.zeros((0, 0), np.bool_))


def find_defects(
    boxes: Mapping[str, tuple[slice, slice]],
    shape: tuple[int, int],
    bias: NDArray[np.float32] | None = None,
    dark: NDArray[np.float32] | None = None,
    flats: Sequence[NDArray[np.float32]] = (),
    options: DefectOptions | None = None,
) -> FoundDefects:
    """Find bad pixels.

    Parameters
    ----------
    boxes
        Rows and columns of the amplifiers; each is judged by itself.
    shape
        Height and width of the detector.
    bias : `~numpy.ndarray`, shape (height, width), optional
        Combined bias, ADU.
    dark : `~numpy.ndarray`, shape (height, width), optional
        Combined dark, electrons per second.
    flats : sequence of `~numpy.ndarray`, shape (height, width), optional
        Combined flats, relative to 1; a pixel that is bad in any of them is bad.
    options : `DefectOptions`, optional
    """
    options = options or DefectOptions()
    kinds: dict[str, NDArray[np.bool_]] = {}

    def add(kind: str, box: tuple[slice, slice], bad: NDArray[np.bool_]) -> None:
        kinds.setdefault(kind, np.zeros(shape, np.bool_))[box] |= bad

    for box in boxes.values():
        if dark is not None:
            excess, sigma = _excess(dark[box])
            add("hot", box, excess > max(options.hot, options.significance * sigma))
        if bias is not None:
            excess, sigma = _excess(bias[box])
            add("bias", box, np.abs(excess) > max(20.0, 2 * options.significance * sigma))
        for flat in flats:
            smooth = _smooth(flat[box])
            with np.errstate(invalid="ignore", divide="ignore"):
                ratio = flat[box] / smooth
            sigma = MAD_TO_SIGMA * float(np.nanmedian(np.abs(ratio - np.nanmedian(ratio))))
            margin = options.significance * sigma
            add("dead", box, ~np.isfinite(ratio) | (ratio < min(options.dead, 1 - margin)))
            add("bright", box, ratio > max(options.bright, 1 + margin))
    bad = np.zeros(shape, np.bool_)
    for pixels in kinds.values():
        bad |= pixels
    whole = bad.copy()
    for box in boxes.values():
        whole[box] |= _columns(bad[box], options.column_share)
    counts = {kind: int(pixels.sum()) for kind, pixels in kinds.items()}
    counts["columns"] = int(whole.sum() - bad.sum())
    return FoundDefects(Defects(boxes_of(whole)), counts, whole)


def _smooth(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the median of each pixel's neighbourhood along rows and columns, unmoved by bad columns."""
    filled = np.where(np.isfinite(image), image, np.nanmedian(image))
    return np.asarray(ndimage.median_filter(filled, size=(3, 15), mode="nearest"), np.float32)


def _excess(image: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
    excess = np.where(np.isfinite(image), image - _smooth(image), np.inf)
    finite = excess[np.isfinite(excess)]
    return excess, robust_scatter(finite)


def _columns(bad: NDArray[np.bool_], share: float) -> NDArray[np.bool_]:
    """Return the runs of columns of which a large share is bad."""
    height = bad.shape[0]
    window = min(64, height)
    density = ndimage.uniform_filter1d(bad.astype(np.float32), window, axis=0, mode="constant")
    dense = density > share
    if not dense.any():
        return np.zeros_like(bad)
    # A window reaches half its length beyond the run.
    reach = ndimage.binary_dilation(dense, np.ones((window // 2 * 2 + 1, 1), np.bool_))
    runs = np.zeros_like(bad)
    for column in np.flatnonzero(dense.any(axis=0)):
        labels, n = ndimage.label(reach[:, column])
        for number in range(1, n + 1):
            rows = np.flatnonzero((labels == number) & bad[:, column])
            if len(rows):
                runs[rows[0] : rows[-1] + 1, column] = True
    return runs


def boxes_of(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return boxes ``x0, y0, width, height`` that cover exactly the true pixels of a mask; shape (n, 4)."""
    padded = np.zeros((mask.shape[0] + 2, mask.shape[1]), np.int8)
    padded[1:-1] = mask
    steps = np.diff(padded, axis=0)
    columns, first = np.nonzero(steps.T == 1)
    _, stop = np.nonzero(steps.T == -1)
    boxes: list[list[int]] = []
    open_boxes: dict[tuple[int, int], list[int]] = {}
    for x, y0, y1 in zip(columns.tolist(), first.tolist(), stop.tolist(), strict=True):
        before = open_boxes.get((y0, y1))
        if before is not None and before[0] + before[2] == x:
            before[2] += 1
            continue
        box = [x, y0, 1, y1 - y0]
        open_boxes[y0, y1] = box
        boxes.append(box)
    return np.asarray(boxes, np.int32).reshape(-1, 4)
