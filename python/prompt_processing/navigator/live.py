"""Work that a page repeats while somebody has it open."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import panel as pn

__all__ = ["while_watched"]


def while_watched(call: Callable[[], None], period_ms: int) -> Any:
    """Call a function periodically as long as the page's browser is connected.

    Bokeh keeps a page for a minute after its browser has left, in case it comes back.

    Parameters
    ----------
    call
        What to call, with the page's document locked.
    period_ms
        Milliseconds between two calls.

    Returns
    -------
    periodic
        The callback, to stop; `None` outside a server.
    """
    document = pn.state.curdoc
    if document is None:
        return None

    def call_if_connected() -> None:
        context = document.session_context
        session = None if context is None else context.session
        if session is not None and session.connection_count > 0:
            call()

    return pn.state.add_periodic_callback(call_if_connected, period_ms)
