"""Views of HTML alone: a browser shows them as soon as it has their text, and asks for what has changed."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

from prompt_processing.nights.records import Freshness

from .sources import Sources
from .text import escaped, utc
from .url_state import from_query

__all__ = ["Answer", "Content", "PlainView", "Reader", "choices", "typed"]

_KEPT_S = 10.0
"""Time for which content is used although nothing has changed: waiting detectors become late."""
_MOST_KEPT = 48
_SILENT_AFTER_S = 30.0
_LONGEST_MESSAGE = 600


@dataclass(frozen=True)
class Content:
    """What a view shows.

    Attributes
    ----------
    regions
        HTML by the name of its place, in order. A browser replaces those that have changed.
    addresses
        Address to which a key leads. Keys of the view that are missing here lead nowhere now.
    """

    regions: Mapping[str, str]
    addresses: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def tag(self) -> str:
        """Name of exactly this content."""
        text = json.dumps([dict(self.regions), dict(self.addresses)])
        return hashlib.sha256(text.encode()).hexdigest()[:24]


class PlainView:
    """One view of HTML alone; it has no state besides its address.

    Attributes
    ----------
    name, title, state_type, keys
        As of `~prompt_processing.navigator.page.View`.
    style
        Style of its content.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    state_type: ClassVar[type[Any]]
    keys: ClassVar[Mapping[str, str]] = {}
    style: ClassVar[str] = ""

    @staticmethod
    def content(sources: Sources, state: Any) -> Content:
        """Return what the view shows in a state.

        Raises
        ------
        Exception
            One of ``sources.failures`` is raised if a source is missing.
        """
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Answer:
    """What a browser gets.

    Attributes
    ----------
    content
        What the view shows.
    messages
        Sentences above it.
    seen
        Time of the data, for people; empty without a database of nights.
    age
        The same as a sentence, in HTML.
    failed
        Whether a source did not answer.
    """

    content: Content
    messages: tuple[str, ...] = ()
    seen: str = ""
    age: str = ""
    failed: bool = False

    def as_json(self, known: str = "") -> str:
        """Return the answer for a browser that may have the content with the tag ``known`` already."""
        parts: dict[str, Any] = {
            "tag": self.content.tag,
            "messages": [one[:_LONGEST_MESSAGE] for one in self.messages],
            "seen": self.seen,
            "age": self.age,
            "failed": self.failed,
        }
        if known != self.content.tag:
            parts |= {"regions": dict(self.content.regions), "addresses": dict(self.content.addresses)}
        return json.dumps(parts)


class Reader:
    """Make the content of views for all browsers; threads share it.

    Parameters
    ----------
    sources
        Repository, databases and caches.
    """

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[float, Content]] = OrderedDict()

    def read(self, view: type[PlainView], query: str) -> Answer:
        """Return what a view shows.

        Parameters
        ----------
        view
            The view.
        query
            Query of the page's address.
        """
        state, problems = from_query(view.state_type, query)
        try:
            fresh = self._sources.freshness() if self._sources.places.nights is not None else None
            content = self._content(view, state, fresh)
        except self._sources.failures as error:
            text = str(error.args[0]) if isinstance(error, LookupError) and error.args else str(error)
            now = f"Last tried at {utc(time.time(), '%H:%M:%S')} UTC; the page tries again by itself."
            none = Content({"heading": f"<h1>{escaped(view.title)}</h1>This cannot be shown now."})
            return Answer(none, (*problems, text, now), failed=True)
        if fresh is None:
            return Answer(content, tuple(problems))
        return Answer(content, tuple(problems), f"{utc(fresh.projected)} UTC", _age(fresh))

    def _content(self, view: type[PlainView], state: Any, fresh: Freshness | None) -> Content:
        if fresh is None:
            return view.content(self._sources, state)
        key = view.name, state, fresh.cursor
        with self._lock:
            made, content = self._kept.get(key, (0.0, None))
        if content is not None and time.monotonic() - made < _KEPT_S:
            return content
        begun = time.monotonic()
        content = view.content(self._sources, state)
        with self._lock:
            self._kept[key] = begun, content
            self._kept.move_to_end(key)
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return content


def _age(fresh: Freshness) -> str:
    seen = f"{utc(fresh.projected)} UTC"
    if time.time() - fresh.projected > _SILENT_AFTER_S:
        return f"<small>▲ No projector has looked for outcomes since {seen}.</small>"
    return f"<small>As of {seen}.</small>"


def typed(label: str, name: str, value: str, width: int, clears: str = "") -> str:
    """Return an input for text as HTML.

    Parameters
    ----------
    label
        Text above it.
    name
        Parameter of the address that it sets.
    value
        Current value.
    width
        Pixels.
    clears
        Parameter that loses its value when this one changes.
    """
    more = f' data-clears="{escaped(clears)}"' if clears else ""
    return (
        f'<label>{escaped(label)}<input name="{escaped(name)}" value="{escaped(value, 2000)}"{more} '
        f'autocomplete="off" spellcheck="false" style="width: {width}px"></label>'
    )


def choices(label: str, name: str, options: Mapping[str, str], value: str, width: int) -> str:
    """Return a choice as HTML.

    Parameters
    ----------
    label, name, value, width
        As of `typed`.
    options
        Text by value.
    """
    items = "".join(
        f'<option value="{escaped(one, 2000)}"{" selected" if one == value else ""}>{escaped(text)}</option>'
        for one, text in options.items()
    )
    inside = f'<select name="{escaped(name)}" style="width: {width}px">{items}</select>'
    return f"<label>{escaped(label)}{inside}</label>"
