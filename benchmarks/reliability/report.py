"""Judge reliability scores by sets: receiver operating characteristic and calibration."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .fit import balanced_weights

Scores = NDArray[np.float64]
Flags = NDArray[np.bool_]

EDGES = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
RELIABLE = 0.5


def area_under_curve(scores: Scores, real: Flags) -> float:
    """Return the probability that a real source scores above a spurious one; ties count half."""
    positive, negative = np.sort(scores[real]), np.sort(scores[~real])
    if not len(positive) or not len(negative):
        return float("nan")
    below = np.searchsorted(negative, positive, "left") + np.searchsorted(negative, positive, "right")
    return float(below.sum() / (2 * len(positive) * len(negative)))


def balanced_calibration(scores: Scores, real: Flags) -> list[tuple[float, float, int]]:
    """Return mean score, share of real sources and number of sources of each range of scores.

    Real and spurious sources weigh as in the training.
    """
    weight = balanced_weights(real)
    rows = []
    for low, high in pairwise(EDGES):
        chosen = (scores >= low) & ((scores < high) | (high == 1.0))
        if chosen.any():
            total = weight[chosen].sum()
            share = float(weight[chosen & real].sum() / total)
            rows.append((float(weight[chosen] @ scores[chosen] / total), share, int(chosen.sum())))
    return rows


def calibration_error(scores: Scores, real: Flags) -> float:
    """Return the mean distance of the mean score from the share of real sources, by weight."""
    weight = balanced_weights(real)
    error = 0.0
    for low, high in pairwise(EDGES):
        chosen = (scores >= low) & ((scores < high) | (high == 1.0))
        error += abs(float(weight[chosen] @ (scores[chosen] - real[chosen])))
    return error / float(weight.sum())


def report_set(name: str, scores: Scores, before: Scores, real: Flags, known: Flags) -> str:
    """Return a row of a table about one set, with the packaged model beside the new one."""
    judged, spurious = ~known, ~real & ~known
    parts = [
        name,
        str(int(real.sum())),
        str(int(spurious.sum())),
        f"{area_under_curve(scores[judged], real[judged]):.3f}",
        f"{area_under_curve(before[judged], real[judged]):.3f}",
        f"{np.mean(scores[real] > RELIABLE):.1%}" if real.any() else "-",
        f"{np.mean(scores[spurious] > RELIABLE):.1%}" if spurious.any() else "-",
        f"{np.mean(before[real] > RELIABLE):.1%} / {np.mean(before[spurious] > RELIABLE):.1%}"
        if real.any() and spurious.any()
        else "-",
        f"{calibration_error(scores[judged], real[judged]):.2f}",
        ", ".join(f"{score:.2f}" for score in np.sort(scores[known])) or "-",
    ]
    return "| " + " | ".join(parts) + " |"


HEADER = (
    "| set | real | spurious | area under the curve | before | real above 0.5 | spurious above 0.5 | before "
    "| calibration error | known changes |\n" + "|---" * 10 + "|"
)


def draw_report(path: Path, scores: Scores, real: Flags, group: NDArray[np.str_]) -> None:
    """Draw the curve and the calibration of each set, the simulated regimes as one."""
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    right.plot([0, 1], [0, 1], color="0.6", lw=1)
    names = np.where(np.char.startswith(group, "regime"), "regimes", group)
    for name in np.unique(names):
        chosen = names == name
        positive, negative = np.sort(scores[chosen & real]), np.sort(scores[chosen & ~real])
        if len(positive) < 5 or len(negative) < 5:
            continue
        limits = np.concatenate([[-1.0], np.unique(scores[chosen])])
        found = 1 - np.searchsorted(positive, limits, "right") / len(positive)
        wrong = 1 - np.searchsorted(negative, limits, "right") / len(negative)
        left.plot(wrong, found, label=f"{name.removeprefix('real: ')} ({len(positive)} / {len(negative)})")
        rows = balanced_calibration(scores[chosen], real[chosen])
        right.plot([row[0] for row in rows], [row[1] for row in rows], "o-", ms=4)
    left.set_xlabel("spurious sources above the limit")
    left.set_ylabel("real sources above the limit")
    left.legend(title="real / spurious", loc="lower right", fontsize=8)
    right.set_xlabel("mean score")
    right.set_ylabel("share of real sources")
    for axes in (left, right):
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
    figure.savefig(path, dpi=100)
