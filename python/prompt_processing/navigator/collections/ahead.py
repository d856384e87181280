"""The figures of neighbouring places, which a browser has before its user goes there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import panel as pn
from bokeh.models import Div

__all__ = ["Ahead", "Part"]

Part = Mapping[str, str]
"""What the next place shows, as HTML: ``heading`` and ``figures``."""

_LONGEST = 4_000_000
"""Most characters that a browser gets ahead: figures that are larger come when they are asked for."""


class Ahead:
    """What the keys of a page lead to, which its script shows at once.

    The server gets the key as well: its answer follows, with the same figure, its remarks and the address.
    """

    def __init__(self) -> None:
        # Tags are any data of a model that nothing draws.
        self._model = Div(name="ahead", visible=False)
        self._content = pn.pane.Bokeh(self._model, visible=False)

    @property
    def content(self) -> Any:
        """The invisible item of the layout that Panel sends."""
        return self._content

    def clear(self) -> None:
        """Forget what is ahead: what is shown has changed."""
        if self._model.tags:
            self._model.tags = []

    def send_from(self, document: Any, make: Callable[[], Mapping[str, Part]]) -> Callable[[], None]:
        """Return a function that makes and sends what is ahead; any thread may call it.

        Parameters
        ----------
        document
            The page's document.
        make
            Returns what is ahead, by key.
        """

        def send() -> None:
            parts = {key: dict(part) for key, part in make().items()}
            if sum(len(text) for part in parts.values() for text in part.values()) <= _LONGEST:
                document.add_next_tick_callback(lambda: self._set(parts))

        return send

    def _set(self, parts: Mapping[str, Part]) -> None:
        self._model.tags = [parts]
