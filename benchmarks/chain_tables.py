"""The tables that ``ap_chain.py`` prints, as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ap_chain import RegimeResult
    from chain_scenes import Regime
    from chain_score import Score

C_ALARD_LUPTON_SECONDS = 14.5
"""Of a public C implementation of Alard & Lupton, on a detector's pair, with one core."""

Measure = Callable[["Score"], float]


def _median(values: Sequence[float]) -> float:
    return float(np.nanmedian(values)) if len(values) else float("nan")


def _scatter(values: Sequence[float]) -> float:
    if len(values) < 5:
        return float("nan")
    middle = np.median(values)
    return float(1.4826 * np.median(np.abs(np.asarray(values) - middle)))


MEASURES: tuple[tuple[str, str, Measure, Callable[[float, float], bool]], ...] = (
    ("completeness, S/N > 10", ">= 0.99", lambda s: s.completeness[0], lambda v, k: 1 - v <= 0.01 * k),
    ("completeness, S/N 5 to 10", ">= 0.85", lambda s: s.completeness[1], lambda v, k: 1 - v <= 0.15 * k),
    ("spurious per true, S/N > 10", "<= 0.02", lambda s: s.spurious[0], lambda v, k: v <= 0.02 * k),
    ("spurious per true, S/N > 5", "<= 0.2", lambda s: s.spurious[1], lambda v, k: v <= 0.2 * k),
    (
        "residual / noise, sky",
        "1 +- 0.03",
        lambda s: _median(s.residual_sky),
        lambda v, k: abs(v - 1) <= 0.03 * k,
    ),
    (
        "residual / noise, stars",
        "1 +- 0.15",
        lambda s: _median(s.residual_stars),
        lambda v, k: abs(v - 1) <= 0.15 * k,
    ),
    ("flux, bias", "1 +- 0.01", lambda s: _median(s.flux_ratio), lambda v, k: abs(v - 1) <= 0.01 * k),
    ("flux, scatter / error", "<= 1.1", lambda s: _scatter(s.flux_pull), lambda v, k: v <= 1 + 0.1 * k),
    (
        "position of S/N > 50, mas an axis",
        "<= 20",
        lambda s: 200 * _rms(s.position),
        lambda v, k: v <= 20 * k,
    ),
)
"""Name, target, how it is measured (`Score` to value), and whether it is met (value, relaxation)."""


def _rms(values: Sequence[float]) -> float:
    return float(np.sqrt(np.mean(np.square(values)))) if len(values) else float("nan")


def quality_tables(results: dict[str, RegimeResult], regimes: dict[str, Regime]) -> str:
    """Return one table of ours for all regimes, and one a regime that sets the peers beside."""
    lines = ["| regime | " + " | ".join(name for name, *_ in MEASURES) + " | injected |"]
    lines.append("|---" * (len(MEASURES) + 2) + "|")
    lines.append("| target | " + " | ".join(target for _, target, *_ in MEASURES) + " | |")
    for name, result in results.items():
        relaxed = 2 if regimes[name].relaxed else 1
        cells = []
        for _, _, measure, met in MEASURES:
            value = measure(result.ours)
            cells.append(
                "-" if np.isnan(value) else f"{value:.3f}" + ("" if met(value, relaxed) else " **missed**")
            )
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {result.ours.bright} + {result.ours.faint} |")
    lines += ["", "Peers on the first seed of each regime, ours on all:", ""]
    lines.append(
        "| regime | package | found, S/N > 10 | spurious, S/N > 10 | at stars | at bright | correlation |"
    )
    lines.append("|---" * 7 + "|")
    for name, result in results.items():
        lines.append(_peer_row(name, "**ours**", result.ours))
        for peer, outcome in result.peers.items():
            if outcome.seconds:
                lines.append(_peer_row(name, peer, outcome.score))
            else:
                lines.append(f"| {name} | {peer} | failed: {'; '.join(sorted(outcome.remarks))} | | | | |")
    return "\n".join(lines) + "\n\n"


def _peer_row(regime: str, name: str, score: Score) -> str:
    return (
        f"| {regime} | {name} | {score.completeness[0]:.3f} | {score.spurious[0]:.3f} "
        f"| {_median(score.residual_stars):.2f} | {_median(score.residual_bright):.2f} "
        f"| {_median(score.whiteness):.3f} |"
    )


def speed_table(results: dict[str, RegimeResult], full: RegimeResult | None) -> str:
    """Return CPU seconds and their ratio to ours."""
    parts = {"scenes as above": results}
    if full is not None:
        parts["4072 x 4000, typical"] = {"typical": full}
    lines = ["| images | step | program | CPU s | of ours |", "|---|---|---|---|---|"]
    for title, group in parts.items():
        subtraction = _median([s for r in group.values() for s in r.subtraction])
        chain = _median([s for r in group.values() for s in r.seconds])
        lines.append(f"| {title} | subtraction | **ours** | {subtraction:.2f} | 1 |")
        for peer in {p: None for r in group.values() for p in r.peers}:
            seconds = [s for r in group.values() if peer in r.peers for s in r.peers[peer].seconds]
            if seconds:
                typical = _median(seconds)
                lines.append(
                    f"| {title} | subtraction | {peer} | {typical:.2f} | {typical / subtraction:.0f} x |"
                )
        classic: dict[str, list[float]] = {}
        for result in group.values():
            for stage, values in result.classic.items():
                classic.setdefault(stage, []).extend(values)
        total = sum(_median(v) for v in classic.values())
        lines.append(f"| {title} | everything, files to catalogue | **ours** | {chain:.2f} | 1 |")
        for stage, values in classic.items():
            lines.append(f"| {title} | before the subtraction | {stage} | {_median(values):.2f} | |")
        if classic:
            ratio = total / (chain - subtraction)
            lines.append(
                f"| {title} | all but the subtraction | classic chain | {total:.2f} | {ratio:.1f} x |"
            )
    if full is not None:
        ours = _median(full.subtraction)
        lines.append(
            f"| 4072 x 4000, typical | subtraction | a public C Alard-Lupton, as published | "
            f"{C_ALARD_LUPTON_SECONDS} | {C_ALARD_LUPTON_SECONDS / ours:.1f} x |"
        )
    return "\n".join(lines) + "\n"
