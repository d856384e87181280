"""Tables and text of a comparison."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from .comparison import ROUNDING, Comparison

__all__ = ["NightComparison", "as_text", "write_tables"]

_MOST_ROWS = 40
_WORST = 5


@dataclass(frozen=True, slots=True)
class NightComparison:
    """Two processings of a night.

    Attributes
    ----------
    sources
        Source by source.
    metrics
        Metrics of each visit-detector side by side.
    only_first, only_second
        Visit-detectors that only one processing has.
    both
        Number of visit-detectors that both have.
    times
        Seconds of the tasks of both, as from `~.times.compare_times`; no difference of the results.
    """

    sources: Comparison
    metrics: pd.DataFrame
    only_first: list[tuple[int, int]]
    only_second: list[tuple[int, int]]
    both: int
    times: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def identical(self) -> bool:
        """Whether both processings have the same visit-detectors, sources and metrics, but for rounding."""
        metrics = self.metrics["difference"].abs()
        sizes = self.metrics[["first", "second"]].abs().max(axis=1)
        one_only = self.metrics["first"].isna() != self.metrics["second"].isna()
        return (
            self.sources.identical
            and not self.only_first
            and not self.only_second
            and not metrics.gt(ROUNDING * sizes).any()
            and not one_only.any()
        )


def as_text(found: NightComparison, first: str, second: str) -> str:
    """Return the comparison as a page of text."""
    sources = found.sources
    pairs = sources.pairs
    lines = [
        f"first  {first}",
        f"second {second}",
        "",
        f"visit-detectors  {found.both} in both, {len(found.only_first)} only in the first, "
        f"{len(found.only_second)} only in the second",
        f"DiaSources       {len(pairs)} in both, {len(sources.only_first)} only in the first, "
        f"{len(sources.only_second)} only in the second",
    ]
    if len(pairs):
        pull, reliability = pairs["flux_pull"], pairs["reliability_difference"].abs()
        lines += [
            f"separation       median {pairs['separation_mas'].median():.3g} mas, "
            f"largest {pairs['separation_mas'].max():.3g} mas",
            f"flux             median {pull.median():.3g} sigma, rms {pull.pow(2).mean() ** 0.5:.3g} sigma, "
            f"largest {pull.abs().max():.3g} sigma",
            f"reliability      median change {reliability.median():.3g}, largest {reliability.max():.3g}",
        ]
    if len(sources.changed):
        lines += ["", "Columns of the sources that differ:", _table(sources.changed.head(_MOST_ROWS))]
    lines.append("Both processings are identical." if found.identical else "")
    lines += ["", "By visit and detector:", _table(sources.by_detector.head(_MOST_ROWS))]
    if len(sources.by_detector) > _MOST_ROWS:
        lines.append(f"... and {len(sources.by_detector) - _MOST_ROWS} more in by_detector.parquet")
    changed = _changed_metrics(found.metrics)
    if len(changed):
        lines += ["", "Metrics that differ most, as medians over the visit-detectors:", _table(changed)]
    if len(found.times):
        lines += ["", "Seconds of the tasks, medians over the visit-detectors:", _table(found.times)]
    return "\n".join(lines) + "\n"


def write_tables(folder: Path, found: NightComparison) -> list[Path]:
    """Write all tables of a comparison as Parquet, and return their files."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = {
        "pairs": found.sources.pairs,
        "only_first": found.sources.only_first,
        "only_second": found.sources.only_second,
        "by_detector": found.sources.by_detector,
        "columns": found.sources.changed,
        "metrics": found.metrics,
        "times": found.times,
    }
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet", index=False)
    return [folder / f"{name}.parquet" for name in tables]


def _changed_metrics(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the metrics with the largest relative change."""
    groups = metrics.dropna(subset=["difference"]).groupby("metric")
    table = groups.agg(
        unit=("unit", "first"),
        first=("first", "median"),
        second=("second", "median"),
        largest=("difference", lambda one: one.abs().max()),
    )
    table = table[table["largest"] > 0.0]
    scale = table[["first", "second"]].abs().max(axis=1).clip(lower=1e-12)
    order = (table["largest"] / scale).sort_values(ascending=False).index
    return table.loc[order[: 2 * _WORST]].reset_index()


def _table(frame: pd.DataFrame) -> str:
    return str(frame.to_string(index=False, float_format=lambda value: f"{value:.4g}"))
