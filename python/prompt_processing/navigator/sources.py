"""What the pages show: a repository, the night's database, an APDB and alerts; all opened to read only."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lsst.daf.butler import Butler
from sqlalchemy.exc import SQLAlchemyError

from prompt_processing.apdb.failures import short_reason
from prompt_processing.butler.opening import open_repository
from prompt_processing.butler.types import use_butler_types
from prompt_processing.domain import night_folder
from prompt_processing.domain.errors import PromptError
from prompt_processing.nights.reading import Nights, NightsUnavailableError
from prompt_processing.nights.records import Freshness

from .collections.shelf import PlotDefaults, PlotShelf
from .detector.pixels import ArrayCache, TiledImage
from .objects.packets import PacketFolder
from .objects.search import ApdbReader, SearchError, database_of
from .remarks.desk import RemarkDesk
from .remarks.store import RemarkError

__all__ = ["Places", "Sources", "UnavailableError"]

_LOG = logging.getLogger("lsst.prompt_processing.navigator")

_PIXEL_CACHE_BYTES = 400_000_000
"""Pixels that are kept for all sessions together: two detectors' images at full resolution."""
_MOST_IMAGES = 200
_FRESH_S = 1.0
"""Time for which all sessions share one answer about the age of the database of nights."""
_RETRY_S = 5.0
"""Time after which something that could not be opened is tried again."""


class UnavailableError(Exception):
    """Something that a page needs is not configured or not reachable; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where everything is; `None` for those that are not configured.

    Attributes
    ----------
    repository
        URI of a Butler repository, or name in the repository index.
    nights
        URL of the night's database.
    apdb
        Configuration of an SQL APDB, or URL of its database.
    apdb_schema
        Its schema in the database (PostgreSQL).
    alerts
        Folder of alert packets.
    collection
        Collection whose plots are shown first.
    summaries
        Folder or bucket of summaries of collections' plots.
    remarks
        URL of the database of flags and notes, the only one that is written.
    user_header
        Header in which the edge names the user.
    """

    repository: str | None = None
    nights: str | None = None
    apdb: str | None = None
    apdb_schema: str | None = None
    alerts: Path | None = None
    collection: str | None = None
    summaries: str | None = None
    remarks: str | None = None
    user_header: str | None = None

    @classmethod
    def of_demo(cls, output: Path) -> Places:
        """Return the places in the output folder of a demo."""

        def found(name: str) -> Path | None:
            path = output.resolve() / name
            return path if path.exists() else None

        names = (night_folder.REPOSITORY, night_folder.APDB, night_folder.DATABASE)
        repository, apdb, nights = map(found, names)
        return cls(
            repository=None if repository is None else str(repository),
            nights=None if nights is None else f"sqlite:///{nights}",
            apdb=None if apdb is None else f"sqlite:///{apdb}",
            alerts=found(night_folder.ALERTS),
        )

    def with_given(self, **given: Any) -> Places:
        """Return these places, with those that are given instead."""
        return replace(self, **{name: value for name, value in given.items() if value is not None})


class Sources:
    """What all browser sessions share: connections, and caches with limits.

    Parameters
    ----------
    places
        Where everything is.

    Notes
    -----
    Each is opened when it is first needed. What cannot be opened raises `UnavailableError`, and is tried
    again after some seconds, so that the pages recover by themselves.
    """

    failures = (
        UnavailableError,
        NightsUnavailableError,
        SearchError,
        RemarkError,
        PromptError,
        SQLAlchemyError,
        OSError,
        LookupError,
    )
    """Exceptions that a page shows as a message."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self._lock = threading.RLock()
        # Of its own: the repository takes longest, and other pages do not wait for it.
        self._butler_lock = threading.RLock()
        self._butler: Butler | None = None
        self._nights: Nights | None = None
        self._freshness: tuple[float, Freshness] | None = None
        self._failed: dict[str, tuple[float, str]] = {}
        self._apdb: ApdbReader | None = None
        self._packets: PacketFolder | None = None
        self._images: OrderedDict[str, TiledImage] = OrderedDict()
        self.pixels = ArrayCache(_PIXEL_CACHE_BYTES)
        self.plots = PlotShelf(
            self.butler,
            PlotDefaults(places.repository or "", places.collection or "", places.summaries or ""),
        )
        self.remarks = RemarkDesk(places.remarks or "", places.user_header or "")
        use_butler_types()

    @contextmanager
    def butler(self) -> Iterator[Butler]:
        """Lend the Butler to one thread at a time.

        Raises
        ------
        UnavailableError
            Raised if there is no repository, or it cannot be reached.
        """
        uri = self.places.repository
        if uri is None:
            raise UnavailableError("No repository is configured: start the navigator with --repo URI.")
        with self._butler_lock:
            self._raise_if_just_failed("repository")
            try:
                if self._butler is None:
                    self._butler = open_repository(uri)
                yield self._butler
            except (SQLAlchemyError, OSError) as error:
                # The next request connects again.
                self._butler = None
                raise self._failure("repository", f"The repository {uri} cannot be read", error) from error

    def nights(self) -> Nights:
        """Return the night's database.

        Raises
        ------
        UnavailableError
            Raised if there is none, or it cannot be reached.
        """
        url = self.places.nights
        if url is None:
            raise UnavailableError(
                "No database of nights is configured: start the navigator with --nights URL."
            )
        with self._lock:
            self._raise_if_just_failed("nights")
            try:
                if self._nights is None:
                    self._nights = Nights(url)
                return self._nights
            except (SQLAlchemyError, OSError) as error:
                raise self._failure("nights", "The database of nights cannot be read", error) from error

    def freshness(self) -> Freshness:
        """Return how recent the database of nights was within the last second.

        Raises
        ------
        UnavailableError
            Raised if there is no database.
        NightsUnavailableError
            Raised if it cannot be read.
        """
        known = self._freshness
        if known is not None and time.monotonic() < known[0] + _FRESH_S:
            return known[1]
        found = self.nights().freshness()
        self._freshness = time.monotonic(), found
        return found

    def apdb(self) -> ApdbReader:
        """Return the APDB.

        Raises
        ------
        UnavailableError
            Raised if there is none.
        """
        if self.places.apdb is None:
            raise UnavailableError("No APDB is configured: start the navigator with --apdb URL.")
        with self._lock:
            if self._apdb is None:
                url, schema = database_of(self.places.apdb)
                self._apdb = ApdbReader(url, self.places.apdb_schema or schema)
            return self._apdb

    def packets(self) -> PacketFolder | None:
        """Return the alert packets; `None` if no folder is configured."""
        if self.places.alerts is None:
            return None
        with self._lock:
            if self._packets is None:
                self._packets = PacketFolder(self.places.alerts)
            return self._packets

    def opened_image(self, name: str, make: Callable[[], TiledImage]) -> TiledImage:
        """Return an image file whose headers have been read; a limited number is remembered."""
        with self._lock:
            if (found := self._images.get(name)) is not None:
                self._images.move_to_end(name)
                return found
        made = make()
        with self._lock:
            self._images[name] = made
            while len(self._images) > _MOST_IMAGES:
                self._images.popitem(last=False)
        return made

    def close(self) -> None:
        """Close the connections."""
        self.plots.close()
        self.remarks.close()
        if self._butler is not None:
            self._butler.close()
            self._butler = None

    def _raise_if_just_failed(self, what: str) -> None:
        when, message = self._failed.get(what, (0.0, ""))
        if when and time.monotonic() < when + _RETRY_S:
            raise UnavailableError(message)

    def _failure(self, what: str, sentence: str, error: Exception) -> UnavailableError:
        message = f"{sentence}: {short_reason(error)}."
        _LOG.warning("%s", message)
        self._failed[what] = (time.monotonic(), message)
        return UnavailableError(message)
