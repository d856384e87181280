"""Picture of a comparison."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .comparison import Comparison

__all__ = ["draw_comparison"]

# Distinguishable with any kind of colour vision, and in grey.
_BOTH, _FIRST, _SECOND = "#0072b2", "#e69f00", "#cc79a7"


def draw_comparison(path: Path, found: Comparison) -> None:
    """Draw fluxes, positions, reliabilities and numbers of two processings as PNG.

    Raises
    ------
    ModuleNotFoundError
        Raised without matplotlib.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, ScalarFormatter

    figure = Figure(figsize=(11, 8), layout="constrained")
    (flux, position), (reliability, numbers) = figure.subplots(2, 2)
    pairs = found.pairs
    snr = (pairs["psfFlux"] / pairs["psfFluxErr"]).abs()
    flux.semilogx(snr, pairs["flux_pull"], ".", color=_BOTH, ms=4)
    flux.axhline(0.0, color="0.5", lw=0.8)
    flux.set(
        xlabel="signal to noise", ylabel="difference of flux (first σ)", title="Fluxes of common sources"
    )
    position.semilogx(snr, pairs["separation_mas"], ".", color=_BOTH, ms=4)
    position.set(xlabel="signal to noise", ylabel="separation (mas)", title="Positions of common sources")
    for panel in (flux, position):
        # Sources of a night may span less than a decade.
        panel.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        panel.xaxis.set_major_formatter(ScalarFormatter())
        panel.xaxis.set_minor_formatter(NullFormatter())
    reliability.plot([0, 1], [0, 1], color="0.5", lw=0.8)
    reliability.plot(pairs["reliability_first"], pairs["reliability_second"], ".", color=_BOTH, ms=4)
    alone = ((found.only_first, _FIRST, "v", "only first"), (found.only_second, _SECOND, "^", "only second"))
    for table, colour, marker, label in alone:
        if len(table):
            value = table["reliability"].to_numpy(float, na_value=np.nan)
            level = np.zeros(len(table))
            x, y = (value, level) if label == "only first" else (level, value)
            reliability.plot(x, y, marker, color=colour, ms=5, ls="", label=label)
    if len(found.only_first) or len(found.only_second):
        reliability.legend()
    reliability.set(xlabel="first", ylabel="second", title="Reliability")
    table = found.by_detector
    row = np.arange(len(table))
    numbers.bar(row, table["both"], color=_BOTH, label="both")
    numbers.bar(row, table["only_first"], bottom=table["both"], color=_FIRST, hatch="//", label="only first")
    bottom = table["both"] + table["only_first"]
    numbers.bar(row, table["only_second"], bottom=bottom, color=_SECOND, hatch="..", label="only second")
    numbers.set(xlabel="visit-detector, in order", ylabel="DiaSources", title="Found by both, by one")
    numbers.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    # Room for the legend above the bars.
    numbers.set_ylim(top=1.25 * max((bottom + table["only_second"]).max(), 1) if len(table) else None)
    numbers.legend(loc="upper right", ncols=3)
    figure.savefig(path, dpi=100)
