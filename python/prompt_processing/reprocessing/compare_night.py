"""Compare two processings of a night that a repository has."""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd
from lsst.daf.butler import Butler

from .comparison import compare, compare_metrics
from .errors import ReprocessingError
from .outputs import SOURCES, Outputs, own_runs, read_outputs
from .report import NightComparison
from .times import compare_times, read_times

__all__ = ["compare_night"]


def compare_night(
    butler: Butler,
    instrument: str,
    first: str,
    second: str,
    visits: Collection[int],
    detectors: Collection[int] = (),
    radius_arcsec: float = 1.0,
) -> NightComparison:
    """Compare what two collections have of some visits.

    Sources of visit-detectors that only one of them has are left out: these are listed, and not counted as
    differences of sources.

    Parameters
    ----------
    butler
        The repository.
    instrument
        Camera.
    first
        Collection of the first processing.
    second
        Output chain of the second; only the runs below it count, since it also has the first as an input.
    visits
        Ids.
    detectors
        Ids; by default all that are in either.
    radius_arcsec
        Largest separation of a pair of sources, arcsec.

    Raises
    ------
    ReprocessingError
        Raised if one of them has no table of DiaSources of these visits.
    """
    runs = own_runs(butler, second)
    one = _outputs(read_outputs(butler, first, instrument, visits), first)
    two = _outputs(read_outputs(butler, runs, instrument, visits), second)
    wanted = set(detectors)
    done = [{key for key in outputs.processed if not wanted or key[1] in wanted} for outputs in (one, two)]
    both = done[0] & done[1]
    sources = compare(_of(one.sources, both), _of(two.sources, both), radius_arcsec)
    metrics = compare_metrics(_of(one.metrics, both), _of(two.metrics, both))
    times = compare_times(
        *(_of(read_times(butler, name, instrument, visits), both) for name in (first, runs))
    )
    return NightComparison(sources, metrics, sorted(done[0] - both), sorted(done[1] - both), len(both), times)


def _outputs(found: Outputs, collection: str) -> Outputs:
    if not found.processed:
        raise ReprocessingError(
            f"{collection} has no {SOURCES} of these visits: nothing can be compared. At night it is "
            "exported if EXPORT_TYPE_REGEXP lets it through."
        )
    return found


def _of(table: pd.DataFrame, keys: Collection[tuple[int, int]]) -> pd.DataFrame:
    chosen = [key in keys for key in zip(table["visit"], table["detector"], strict=True)]
    return table[chosen]
