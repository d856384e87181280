"""The frame around each view: heading, links to the other views, messages, keys, and the address."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, ClassVar

import panel as pn
from panel.io.resources import parse_template

from .early import send_head
from .frame import STATIC_FOLDER, bottom, head, script_address
from .layout import PREVIEW_STYLE, column, markup, preview
from .live import while_watched
from .sources import Sources
from .text import escaped
from .url_state import State, from_query, to_query

__all__ = ["Page", "View", "make_page"]

_LOG = logging.getLogger("lsst.prompt_processing.navigator")

_LONGEST_MESSAGE = 600
_RETRY_MS = 5000


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
        self._n_keys = 0
        self._keys = pn.widgets.TextInput(css_classes=["keys"], visible=False)

    @property
    def messages(self) -> pn.Column:
        """Messages above the view."""
        return self._messages

    @property
    def keys(self) -> pn.widgets.TextInput:
        """Invisible input, which the page's script sets at each key: see `pressed`."""
        return self._keys

    def pressed(self, text: str) -> list[str]:
        """Return the keys that have been pressed since the last call.

        Panel passes only the last of several changes that follow each other closely, so the script sends the
        last keys each time.

        Parameters
        ----------
        text
            Number of the last key and the last keys, as a list in JSON: ``[3, "n", "n", "p"]``.
        """
        try:
            last, *keys = json.loads(text)
            n_new = min(max(int(last) - self._n_keys, 0), len(keys))
            self._n_keys = max(int(last), self._n_keys)
        except (ValueError, TypeError, OverflowError):
            # Not by the page's script.
            return []
        return [str(one) for one in keys[len(keys) - n_new :]]

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
    view_type: type[View], titles: Sequence[tuple[str, str]], sources: Sources
) -> Callable[[], pn.Template]:
    """Return the function that makes a page for each browser session.

    Parameters
    ----------
    view_type
        The view.
    titles
        Names and titles of all views, for the heading.
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
                for key in page.pressed(str(event.new)):
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
        before = head(view_type.title, view_type.name, titles)
        before += (
            f'<div id="preview"><template shadowrootmode="closed"><style>{PREVIEW_STYLE}</style>'
            f"{preview(shown)}</template></div>"
        )
        template = _Frame(template=_layout(), location=True)
        template.add_variable("head", "" if send_head(before) else before)
        template.add_variable("bottom", bottom(view_type.keys))
        template.add_variable("script_addresses", script_addresses)
        template.add_variable("held_back", held_back)
        scripts = ("navigator.js", *view_type.scripts)
        template.add_variable("scripts", [script_address(one) for one in scripts])
        template.add_panel("keys_input", page.keys)
        template.add_panel("content", shown)
        return template

    return make


class _Frame(pn.Template):
    """Template that makes no page about itself, which Panel's does for each session, for notebooks."""

    def __repr__(self) -> str:
        return type(self).__name__

    def _build_layout(self) -> pn.Column:
        return pn.Column(pn.pane.Str(""))


@cache
def _layout() -> Any:
    """Return the template of pages with models."""
    # Not by `frame.template`: Panel completes it with its own macros.
    return parse_template((STATIC_FOLDER / "page.html").read_text("utf-8"))


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
