"""State of the view of collections, and what follows from it without asking anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from prompt_processing.repository.plots.find import CollectionContent
from prompt_processing.repository.plots.kinds import PatternError, PlotKind, Tab, matching

__all__ = ["CollectionsState", "Mode", "chosen_kinds", "stepped"]

Mode = Literal["side", "blink", "first", "second", "only", "metrics"]


@dataclass(frozen=True, slots=True)
class CollectionsState:
    """State of the view.

    Attributes
    ----------
    repo, collection
        Repository and collection; empty for the defaults.
    instrument, skymap
        Only figures of these; empty for all.
    tab
        What the figures are of.
    place
        Visit, detector or tract, as ``instrument=HSC,visit=12,detector=3``.
    names
        Regular expression; only figures whose kind it is found in.
    columns
        Columns of the grid.
    plot
        Kind of the only figure that is shown, large; empty for the grid.
    other
        Collection to compare with; empty for none.
    mode
        How two collections are shown.
    """

    repo: str = ""
    collection: str = ""
    instrument: str = ""
    skymap: str = ""
    tab: Tab = "detector"
    place: str = ""
    names: str = ""
    columns: int = 3
    plot: str = ""
    other: str = ""
    mode: Mode = "side"


def chosen_kinds(content: CollectionContent, state: CollectionsState) -> tuple[list[PlotKind], str]:
    """Return the kinds of a collection that a state shows, and what is wrong with its pattern."""
    kinds = [one for one in content.kinds if one.tab == state.tab]
    try:
        names = set(matching([one.name for one in kinds], state.names))
    except PatternError as error:
        return (
            kinds,
            f"All names are shown, because {state.names[:60]!r} is not a regular expression: {error}.",
        )
    return [one for one in kinds if one.name in names], ""


def stepped[T](items: Sequence[T], current: T, by: int) -> T | None:
    """Return the item some steps after another; `None` beyond the ends, the first one for an unknown item."""
    if not items:
        return None
    if current not in items:
        return items[0]
    place = items.index(current) + by
    return items[place] if 0 <= place < len(items) else None
