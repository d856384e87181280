"""What all browser sessions share of the figures: repositories, and caches with limits."""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from lsst.daf.butler import Butler, ButlerRepoIndex, ButlerUserError

from prompt_processing.butler.opening import open_repository
from prompt_processing.repository.plots.find import (
    CollectionContent,
    collection_content,
    collections_with_plots,
    places_of,
    plots_at,
    read_plot,
)
from prompt_processing.repository.plots.kinds import Place, PlotKind, PlotRef
from prompt_processing.repository.plots.metrics import MetricValue, metrics_at
from prompt_processing.repository.plots.summary import (
    PlotSummary,
    SummaryError,
    places_in,
    plots_in,
    read_summary,
    summary_path,
)
from prompt_processing.telemetry.handover import in_this_context

__all__ = ["PlotDefaults", "PlotShelf", "Which"]

_LIFETIME_S = 20.0
"""Age at which an answer is asked for again, so that new figures appear."""
_PLACES_LIFETIME_S = 60.0
"""The same for lists of places, which take longest: half a second a kind in 100 000 figures."""
_MOST_LIFETIMES = 3
"""Lifetimes after which an answer is too old to be shown while a new one is asked for."""
_MOST_PREPARED = 12
"""Most figures of a place that are read ahead."""
_MOST_WAITING = 32
"""Questions that wait for the thread; more of what may be asked for next is not read ahead."""
_MOST_ANSWERS = 500
_PICTURE_BYTES = 150_000_000
_MOST_REPOSITORIES = 4
"""Repositories of the index that are open at the same time."""


@dataclass(frozen=True, slots=True)
class PlotDefaults:
    """What a page shows when its address does not say.

    Attributes
    ----------
    repository
        URI of a repository, or its name in the repository index; empty for none.
    collection
        Collection; empty for the first one that has figures.
    summaries
        Folder or bucket of summaries (see `~prompt_processing.repository.plots.summary`); empty for none.
    """

    repository: str = ""
    collection: str = ""
    summaries: str = ""


@dataclass(frozen=True, slots=True)
class Which:
    """A choice of figures of a collection."""

    repository: str
    collection: str
    instrument: str = ""
    skymap: str = ""


class PlotShelf:
    """Figures of all known repositories.

    Parameters
    ----------
    lend
        Lends the Butler of the default repository to one thread at a time.
    defaults
        What is shown first.

    Notes
    -----
    Addresses of pages name repositories, so that only those of the index and the default one are opened.
    """

    def __init__(self, lend: Callable[[], AbstractContextManager[Butler]], defaults: PlotDefaults) -> None:
        self._lend = lend
        self.defaults = defaults
        self._lock = threading.RLock()
        self._butlers: OrderedDict[str, Butler] = OrderedDict()
        self._answers: OrderedDict[Hashable, tuple[float, object]] = OrderedDict()
        self._pictures: OrderedDict[tuple[str, uuid.UUID], tuple[bytes, str]] = OrderedDict()
        self._picture_bytes = 0
        self._pool = ThreadPoolExecutor(1, "figures")
        self._asked: set[Hashable] = set()

    def repositories(self) -> list[str]:
        """Return the names of the known repositories, the default one first."""
        known = sorted(ButlerRepoIndex.get_known_repos())
        first = self.defaults.repository
        return [first, *(one for one in known if one != first)] if first else known

    def collections(self, repository: str) -> list[str]:
        """Return the collections of a repository that have figures."""

        def ask() -> list[str]:
            with self.butler(repository) as butler:
                return collections_with_plots(butler)

        return self._remembered(("collections", repository), ask)

    def content(self, which: Which) -> CollectionContent:
        """Return the kinds of figures of a collection."""

        def ask() -> CollectionContent:
            with self.butler(which.repository) as butler:
                return collection_content(butler, which.collection)

        return self._remembered(("content", which.repository, which.collection), ask)

    def places(self, which: Which, kinds: Sequence[PlotKind]) -> list[Place]:
        """Return the places of figures of some kinds, of one tab."""

        def ask() -> list[Place]:
            summary = self._summary(which)
            # Summaries list figures only, no metrics.
            if summary is not None and all(kind.name in summary.plots for kind in kinds):
                return places_in(summary, kinds, which.instrument, which.skymap)
            with self.butler(which.repository) as butler:
                return places_of(butler, which.collection, kinds, which.instrument, which.skymap)

        return self._remembered(("places", which, tuple(kinds)), ask, _PLACES_LIFETIME_S)

    def plots(self, which: Which, kinds: Sequence[PlotKind], place: Place) -> list[PlotRef]:
        """Return the figures of a place."""

        def ask() -> list[PlotRef]:
            summary = self._summary(which)
            if summary is not None:
                return plots_in(summary, kinds, place, which.instrument, which.skymap)
            with self.butler(which.repository) as butler:
                return plots_at(butler, which.collection, kinds, place, which.instrument, which.skymap)

        return self._remembered(("plots", which, tuple(kinds), place), ask)

    def metrics(self, which: Which, place: Place) -> dict[str, MetricValue]:
        """Return the metrics of a place."""

        def ask() -> dict[str, MetricValue]:
            kinds = self.content(which).metrics
            with self.butler(which.repository) as butler:
                return metrics_at(butler, which.collection, kinds, place)

        return self._remembered(("metrics", which, place), ask)

    def picture(self, repository: str, ref: PlotRef) -> tuple[bytes, str]:
        """Return the bytes of a figure and their media type; the last ones are kept.

        Raises
        ------
        LookupError
            Raised if the file is missing or no picture.
        """
        key = repository, ref.id
        with self._lock:
            if key in self._pictures:
                self._pictures.move_to_end(key)
                return self._pictures[key]
        with self.butler(repository) as butler:
            found = read_plot(butler, ref)
        with self._lock:
            if key not in self._pictures:
                self._pictures[key] = found
                self._picture_bytes += len(found[0])
            while self._picture_bytes > _PICTURE_BYTES:
                _, (content, _) = self._pictures.popitem(last=False)
                self._picture_bytes -= len(content)
        return found

    def prepare(
        self,
        which: Which,
        kinds: Sequence[PlotKind],
        places: Iterable[Place],
        then: Callable[[], None] | None = None,
    ) -> None:
        """Read the figures of places that may be asked for next, in another thread.

        Parameters
        ----------
        which, kinds, places
            The figures.
        then
            Called in that thread when they are there.
        """
        chosen = tuple(places)

        def read() -> None:
            for place in chosen:
                for ref in self.plots(which, kinds, place)[:_MOST_PREPARED]:
                    self.picture(which.repository, ref)
            if then is not None:
                then()

        self._later(("prepare", which, tuple(kinds), chosen, then), read)

    @contextmanager
    def butler(self, repository: str) -> Iterator[Butler]:
        """Lend the read-only Butler of a known repository to one thread at a time.

        Raises
        ------
        LookupError
            Raised if the repository is not known.
        """
        try:
            with self._lent(repository) as butler:
                yield butler
        except ButlerUserError as error:
            raise LookupError(str(error)) from error

    def close(self) -> None:
        """Close the repositories."""
        self._pool.shutdown(cancel_futures=True)
        with self._lock:
            while self._butlers:
                self._butlers.popitem()[1].close()

    @contextmanager
    def _lent(self, repository: str) -> Iterator[Butler]:
        if repository and repository == self.defaults.repository:
            with self._lend() as butler:
                yield butler
            return
        if repository not in ButlerRepoIndex.get_known_repos():
            raise LookupError(
                f"No repository {repository[:100]!r} is known: name it in the repository index "
                "(DAF_BUTLER_REPOSITORY_INDEX)."
            )
        with self._lock:
            if repository not in self._butlers:
                self._butlers[repository] = open_repository(repository)
                while len(self._butlers) > _MOST_REPOSITORIES:
                    self._butlers.popitem(last=False)[1].close()
            self._butlers.move_to_end(repository)
            yield self._butlers[repository]

    def _summary(self, which: Which) -> PlotSummary | None:
        if not self.defaults.summaries:
            return None
        key = which.repository, which.collection

        def ask() -> PlotSummary | None:
            path = summary_path(self.defaults.summaries, *key)
            return read_summary(path, self.content(which).kinds)

        try:
            with self._lock:
                return self._remembered(("summary", *key), ask)
        except SummaryError as error:
            raise LookupError(f"{error}; write it again with  prompt repo summarize-plots") from error

    def _remembered[T](self, key: Hashable, ask: Callable[[], T], lifetime_s: float = _LIFETIME_S) -> T:
        now = time.monotonic()
        with self._lock:
            when, answer = self._answers.get(key, (-math.inf, None))
            if now - when < _MOST_LIFETIMES * lifetime_s:
                if now - when > lifetime_s:
                    # The next request gets the new answer.
                    self._later(key, lambda: self._remember(key, ask))
                return answer  # type: ignore[return-value]
        return self._remember(key, ask)

    def _remember[T](self, key: Hashable, ask: Callable[[], T]) -> T:
        now = time.monotonic()
        found = ask()
        with self._lock:
            self._answers[key] = (now, found)
            self._answers.move_to_end(key)
            while len(self._answers) > _MOST_ANSWERS:
                self._answers.popitem(last=False)
        return found

    def _later(self, key: Hashable, do: Callable[[], object]) -> None:
        """Do something in another thread, unless the same waits already."""

        def work() -> None:
            try:
                do()
            finally:
                self._asked.discard(key)

        with self._lock:
            if key not in self._asked and len(self._asked) < _MOST_WAITING:
                self._asked.add(key)
                # What fails is asked again by the page that needs it, which shows the reason.
                self._pool.submit(in_this_context(work))
