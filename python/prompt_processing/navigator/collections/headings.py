"""The heading of the view of collections, as HTML."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prompt_processing.repository.plots.find import CollectionContent
from prompt_processing.repository.plots.kinds import Place, PlotRef, place_text

from ..text import escaped
from ..url_state import to_query, with_changes
from .ahead import Part
from .pictures import figure, figures
from .state import CollectionsState

__all__ = ["MOST_FIGURES", "heading", "label_of", "part_of"]

MOST_FIGURES = 48
"""Most figures of a page."""


def label_of(place: Place, content: CollectionContent) -> str:
    """Return a place for people, without the only instrument or sky map of the collection."""
    obvious = set()
    if len(content.instruments) <= 1:
        obvious.add("instrument")
    if len(content.skymaps) <= 1:
        obvious.add("skymap")
    return ", ".join(f"{name} {value}" for name, value in place if name not in obvious)


def heading(name: str, state: CollectionsState, n_plots: int, label: str) -> str:
    """Return the place, and what is shown of it.

    Parameters
    ----------
    name
        Word of the view in addresses.
    state
        State of the view.
    n_plots
        Number of figures of the place.
    label
        The place, for people.
    """
    back = ""
    if state.plot:
        address = f"{name}{to_query(with_changes(state, plot=''))}"
        back = f' <a href="{escaped(address, 4000)}">all plots of this place</a>'
    cut = f", the first {MOST_FIGURES} are shown: narrow the names" if n_plots > MOST_FIGURES else ""
    what = escaped(state.plot or f"{n_plots} plot{'' if n_plots == 1 else 's'}{cut}")
    return f"<h1>{escaped(label or state.collection)}</h1><p>{what}{back}</p>"


def part_of(
    name: str,
    state: CollectionsState,
    refs: Sequence[PlotRef],
    place: Place,
    label: str,
    picture: Callable[[int, PlotRef], tuple[bytes, str]],
) -> Part:
    """Return what a page with one plot shows of another place, without its remarks.

    Parameters
    ----------
    name, state, label
        As of `heading`; the state is that of the present place.
    refs
        Figures of the other place.
    place
        The other place.
    picture
        Returns bytes and media type of a figure, as for `.pictures.figure`.
    """
    state = with_changes(state, place=place_text(place))
    names = (state.collection, "")
    shown = [figure((one, None), "single", names, picture, place, large=True) for one in refs]
    columns = 1 if len(shown) == 1 else state.columns
    return {"heading": heading(name, state, len(refs), label), "figures": figures(shown, columns)}
