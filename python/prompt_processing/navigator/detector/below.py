"""What is read only on request: the plots and the log of a visit's detector."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Iterable
from typing import Any, Literal

import panel as pn
from lsst.daf.butler import Butler, MissingDatasetTypeError
from lsst.daf.butler.registry import MissingCollectionError  # type: ignore[attr-defined]

from prompt_processing.butler.collections import Collections
from prompt_processing.repository.plots.kinds import Place, place_text

from ..collections.shelf import Which
from ..layout import column, markup
from ..sources import Sources
from ..text import escaped, table, utc
from ..url_state import link
from .data import DetectorData

__all__ = ["Below", "BelowImages"]

Below = Literal["", "plots", "log"]

_CHOICES = {"Images only": "", "Plots": "plots", "Log": "log"}
_MOST_PLOTS = 24
_MOST_TASKS = 40
_MOST_LINES = 500
_LONGEST_LINE = 400
_LARGEST_LOG = 20_000_000
_STYLE = """
.plots { display: flex; flex-wrap: wrap; gap: 10px; }
.plots figure { max-width: 420px; border: 1px solid #d0d7de; border-radius: 4px; padding: 4px; }
.plots img { max-width: 100%; height: auto; display: block; background: #fff; }
"""


class BelowImages:
    """A choice, and what was chosen.

    Parameters
    ----------
    sources
        Where plots and logs are.
    value
        What is shown first.
    choose
        Called with a new choice.
    """

    def __init__(self, sources: Sources, value: Below, choose: Callable[[Below], None]) -> None:
        self._sources = sources
        self._shown = markup()
        self._shown.stylesheets = [*self._shown.stylesheets, _STYLE]
        self.choice = pn.widgets.RadioButtonGroup(
            label="More of this detector", options=_CHOICES, value=value, margin=(6, 6)
        )
        self.choice.param.watch(lambda event: choose(event.new), "value")
        self.content = column(self.choice, self._shown)

    def show(self, data: DetectorData, visit: int | None, detector: int | None, what: Below) -> None:
        """Show plots or log of a visit's detector, or neither.

        Raises
        ------
        Exception
            One of `Sources.failures`, if they cannot be read.
        """
        self.choice.value = what
        self._shown.object = ""
        if not what or visit is None or detector is None or not data.collection:
            return
        if what == "plots":
            self._shown.object = self._plots(data, visit, detector)
        else:
            self._shown.object = self._log(data, visit, detector)

    def _plots(self, data: DetectorData, visit: int, detector: int) -> str:
        shelf = self._sources.plots
        repository = self._sources.places.repository or ""
        place: Place = (("instrument", data.instrument), ("visit", visit), ("detector", detector))
        figures = []
        for collection in self._collections_of_plots(data):
            which = Which(repository, collection, data.instrument)
            try:
                kinds = [kind for kind in shelf.content(which).kinds if kind.tab == "detector"]
            except LookupError:
                # Nothing has been drawn into it yet.
                continue
            for ref in shelf.plots(which, kinds, place)[:_MOST_PLOTS] if kinds else ():
                address = link("collections", collection=collection, place=place_text(place), plot=ref.kind)
                content, media_type = shelf.picture(repository, ref)
                picture = f"data:{escaped(media_type)};base64,{base64.b64encode(content).decode('ascii')}"
                figures.append(
                    f'<figure><a href="{escaped(address, 4000)}"><img src="{picture}" '
                    f'alt="{escaped(ref.kind)}"></a><figcaption>{escaped(ref.kind)}</figcaption></figure>'
                )
            if figures:
                break
        if not figures:
            draw = "<code>prompt flow run draw-night</code> draws them"
            return f"<p>There are no plots of this detector: {draw}.</p>"
        return f'<h2>Plots</h2><div class="plots">{"".join(figures)}</div>'

    def _collections_of_plots(self, data: DetectorData) -> list[str]:
        """Return where plots of an image may be: its night's outputs, those of the day, and the default."""
        collections = Collections(data.instrument)
        found = [data.chain or data.collection, data.collection]
        night = data.chain.removeprefix(collections.output_chain(""))
        if night and night != data.chain:
            found.append(collections.plots_chain(night))
        if default := self._sources.plots.defaults.collection:
            found.append(default)
        return list(dict.fromkeys(found))

    def _log(self, data: DetectorData, visit: int, detector: int) -> str:
        lines: list[tuple[float, list[str]]] = []
        notes = []
        with self._sources.butler() as butler:
            for ref in _log_refs(butler, data, visit, detector):
                task = ref.datasetType.name.removesuffix("_log")
                if butler.getURI(ref).size() > _LARGEST_LOG:
                    notes.append(f"<p>The log of {escaped(task)} is too large to be shown.</p>")
                    continue
                for record in butler.get(ref):
                    lines.append((record.asctime.timestamp(), _line(task, record)))
        if not lines:
            return "".join(notes) or "<p>The repository has no log of this detector.</p>"
        lines.sort(key=lambda one: one[0])
        cut = f", the last {_MOST_LINES} of {len(lines)} lines" if len(lines) > _MOST_LINES else ""
        head = ("time (UTC)", "task", "level", "message")
        return "".join(notes) + table(head, [cells for _, cells in lines[-_MOST_LINES:]], f"Log{cut}")


def _line(task: str, record: Any) -> list[str]:
    level = logging.getLevelName(int(record.levelno))
    shown = f"<strong>{escaped(level)}</strong>" if record.levelno >= logging.WARNING else escaped(level)
    when = utc(record.asctime.timestamp(), "%H:%M:%S")
    return [when, escaped(task), shown, escaped(record.message, _LONGEST_LINE)]


def _log_refs(butler: Butler, data: DetectorData, visit: int, detector: int) -> Iterable[Any]:
    """Return the logs of the tasks of a visit's detector."""
    collection = data.chain or data.collection
    try:
        there = butler.collections.get_info(collection, include_summary=True).dataset_types or ()
    except MissingCollectionError:
        return []
    names = sorted(name for name in there if name.endswith("_log"))[:_MOST_TASKS]
    found: list[Any] = []
    for key in ("visit", "exposure"):
        of_key = [
            name
            for name in names
            if {key, "detector"} <= set(butler.get_dataset_type(name).dimensions.required)
        ]
        if not of_key:
            continue
        where = {"instrument": data.instrument, key: visit, "detector": detector}
        try:
            found += butler.query_all_datasets(collection, name=of_key, data_id=where, limit=2 * _MOST_TASKS)
        except (MissingDatasetTypeError, LookupError):
            continue
    return found
