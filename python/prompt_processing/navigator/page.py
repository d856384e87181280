"""The frame around each view: heading, links to the other views, messages, keys, and the address."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlencode

import panel as pn
from panel.io.resources import parse_template

from .early import send_head
from .layout import PREVIEW_STYLE, column, markup, preview
from .live import while_watched
from .sources import Sources
from .text import escaped
from .url_state import State, from_query, to_query

__all__ = ["STATIC_FOLDER", "Page", "View", "link", "make_page"]

_LOG = logging.getLogger("lsst.prompt_processing.navigator")

STATIC_FOLDER = Path(__file__).parent / "static"
_LONGEST_MESSAGE = 600
_RETRY_MS = 5000


def link(view: str, **parameters: Any) -> str:
    """Return the relative address of a view with some parameters; those that are `None` are left out."""
    given = {name: value for name, value in parameters.items() if value is not None}
    return f"{view}?{urlencode(given)}" if given else view


class View:
    """One view of the navigator; each browser session has its own.

    A subclass sets the class attributes, builds `content` in its constructor, and changes `state` through
    `go`, which also writes the address.

    Parameters
    ----------
    page
        The frame.
    sources
        Repository, databases and caches, shared by all sessions.
    state
        State that the address has.

    Attributes
    ----------
    name
        Word in the address.
    title
        Name in the heading.
    state_type
        Class of the state.
    keys
        Meaning of each key; `on_key` is called with it. Keys are those of ``KeyboardEvent.key``.
    scripts
        Files of ``static`` that the view needs besides ``navigator.js``.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    state_type: ClassVar[type[Any]]
    keys: ClassVar[Mapping[str, str]] = {}
    scripts: ClassVar[tuple[str, ...]] = ()

    def __init__(self, page: Page, sources: Sources, state: Any) -> None:
        self.page = page
        self.sources = sources
        self.state = state

    @property
    def content(self) -> Any:
        """What Panel shows below the heading."""
        raise NotImplementedError

    def on_key(self, key: str) -> None:
        """React to one of `keys`."""

    def go(self, state: State) -> None:
        """Take a new state, and write it into the address."""
        if state != self.state:
            self.state = state
            self.page.write_address(state)


class Page:
    """Heading, messages and address of one browser session."""

    def __init__(self) -> None:
        self._messages = column(css_classes=["messages"])
        self._keys = pn.widgets.TextInput(css_classes=["keys"], visible=False)

    @property
    def messages(self) -> pn.Column:
        """Messages above the view."""
        return self._messages

    @property
    def keys(self) -> pn.widgets.TextInput:
        """Invisible input, which the page's script sets to ``<number> <key>`` at each key."""
        return self._keys

    def tell(self, *sentences: str) -> None:
        """Replace the messages above the view; text is shown as it is, without markup."""
        # Panel's pane for text does not escape it.
        self._messages.objects = [
            markup(f'<div class="message">{escaped(one, _LONGEST_MESSAGE)}</div>') for one in sentences
        ]

    def write_address(self, state: State) -> None:
        """Show a state in the browser's address."""
        if pn.state.location is not None:
            pn.state.location.search = to_query(state)


def make_page(
    view_type: type[View], views: Sequence[type[View]], sources: Sources
) -> Callable[[], pn.Template]:
    """Return the function that makes a page for each browser session.

    Parameters
    ----------
    view_type
        The view.
    views
        All views, for the heading.
    sources
        What all sessions share.
    """

    def make() -> pn.Template:
        page = Page()
        query = pn.state.location.search if pn.state.location is not None else ""
        state, problems = from_query(view_type.state_type, query)
        content = column(markup(f"<h1>{view_type.title}</h1>This cannot be shown now."))

        def show() -> bool:
            page.tell(*problems)
            try:
                view = view_type(page, sources, state)
                content.objects = [view.content]
            except sources.failures as error:
                # The page stays up: databases and repositories come back.
                _LOG.warning("Cannot show %s: %s", view_type.name, error)
                since = datetime.now(UTC).strftime("%H:%M:%S")
                page.tell(
                    *problems, str(error), f"Last tried at {since} UTC; the page tries again by itself."
                )
                return False

            def react(event: Any) -> None:
                key = str(event.new).partition(" ")[2]
                if key in view.keys:
                    view.on_key(key)

            page.keys.param.watch(react, "value")
            return True

        if not show():

            def retry() -> None:
                if show():
                    again.stop()

            again = while_watched(retry, _RETRY_MS)
        shown = column(page.messages, content)
        head = _template("head.html").render(
            title=view_type.title,
            views=[(one.name, one.title) for one in views],
            current=view_type.name,
            style=_style(),
            preview=preview(shown),
            preview_style=PREVIEW_STYLE,
        )
        template = _Frame(template=_template("page.html"), location=True)
        template.add_variable("head", "" if send_head(head) else head)
        template.add_variable("script_addresses", script_addresses)
        template.add_variable("held_back", held_back)
        template.add_variable("keys", dict(view_type.keys))
        template.add_variable("key_groups", _groups(view_type.keys))
        template.add_variable("scripts", [_address(one) for one in ("navigator.js", *view_type.scripts)])
        template.add_panel("keys_input", page.keys)
        template.add_panel("content", shown)
        return template

    return make


def _groups(keys: Mapping[str, str]) -> dict[str, list[str]]:
    """Return how the keys are called, by their meaning."""
    arrows = {"ArrowLeft": "←", "ArrowRight": "→", "ArrowUp": "↑", "ArrowDown": "↓"}
    groups: dict[str, list[str]] = {}
    for key, meaning in keys.items():
        groups.setdefault(meaning, []).append(arrows.get(key, key))
    return groups


class _Frame(pn.Template):
    """Template that makes no page about itself, which Panel's does for each session, for notebooks."""

    def __repr__(self) -> str:
        return type(self).__name__

    def _build_layout(self) -> pn.Column:
        return pn.Column(pn.pane.Str(""))


@cache
def _template(name: str) -> Any:
    """Return a compiled template."""
    return parse_template((STATIC_FOLDER / name).read_text("utf-8"))


@cache
def _style() -> str:
    """Return the pages' style, which is written into them: nothing is painted before it is there."""
    return (STATIC_FOLDER / "navigator.css").read_text("utf-8")


@cache
def _address(script: str) -> str:
    """Return the address of a script, which changes with its content, so that browsers may keep it."""
    return f"assets/{script}?v={hashlib.sha256((STATIC_FOLDER / script).read_bytes()).hexdigest()[:16]}"


_SCRIPT = re.compile(r'<script[^>]*\ssrc="([^"]+)"[^>]*></script>')
_UNUSED = ("/bokeh-gl.min.js", "/es-module-shims.min.js")
"""Scripts that Panel always names, and that only plots in WebGL and components of others need."""


def script_addresses(tags: str) -> list[str]:
    """Return the addresses of Bokeh's scripts, which the page's own script loads after the first paint.

    Parameters
    ----------
    tags
        HTML of Panel. Its inline scripts are left out: they set a log level and announce other components.
    """
    found = _SCRIPT.findall(tags)
    return [address for address in found if not address.partition("?")[0].endswith(_UNUSED)]


def held_back(tags: str) -> str:
    """Return the inline script that connects the page, so that the page's own script can start it."""
    return tags.replace("<script>", '<script type="text/plain" id="start">')
