"""Send what a page shows first while the rest of it is still being made."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from panel.io.server import DocHandler

__all__ = ["EarlyHandler", "send_head"]

_SEND: ContextVar[Callable[[str], None] | None] = ContextVar("_SEND", default=None)


def send_head(html: str) -> bool:
    """Send the beginning of the page that this request asks for.

    Parameters
    ----------
    html
        The page, from its first character.

    Returns
    -------
    sent
        Whether it is on its way; it belongs to the page otherwise.
    """
    send = _SEND.get()
    if send is None:
        return False
    send(html)
    return True


class EarlyHandler(DocHandler):
    """Answer a request for a page in two parts.

    Bokeh makes all models of a page before it sends any of it, which takes several times as long as the
    page's text and tables do.
    """

    async def get_session(self) -> Any:
        """Make the page, in a thread whose context knows this request."""
        loop = asyncio.get_running_loop()

        def send(html: str) -> None:
            loop.call_soon_threadsafe(self._send, html)

        before = _SEND.set(send)
        try:
            return await super().get_session()
        finally:
            _SEND.reset(before)

    def _send(self, html: str) -> None:
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.write(html)
        # Not awaited here: the rest of the page is written behind it.
        self.flush()
