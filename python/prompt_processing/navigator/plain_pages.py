"""Serve the views of HTML alone: whole pages, and what has changed of them."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import tornado.web

from prompt_processing.telemetry.handover import in_this_context

from .frame import CONTENT_STYLE, bottom, head, script_address, template
from .plain import Answer, PlainView, Reader
from .sources import Sources
from .text import escaped

__all__ = ["plain_routes"]

_N_THREADS = 2
_LEAST_PACKED = 2000
_LONGEST_MESSAGE = 600

_Route = tuple[str, type[tornado.web.RequestHandler], dict[str, object]]


def plain_routes(
    views: Sequence[type[PlainView]], titles: Sequence[tuple[str, str]], sources: Sources
) -> list[_Route]:
    """Return the routes of views: ``/<name>`` is the page, ``/parts/<name>`` its content as JSON.

    Parameters
    ----------
    views
        The views; the first one is also at the address without a name.
    titles
        Names and titles of all views, for the heading.
    sources
        What all sessions share.
    """
    reader = Reader(sources)
    pool = ThreadPoolExecutor(_N_THREADS, "pages")
    routes: list[_Route] = []
    for view in views:
        given: dict[str, object] = {"view": view, "reader": reader, "pool": pool}
        with_titles = {**given, "titles": tuple(titles), "is_live": sources.places.nights is not None}
        routes.append((f"/{view.name}", _PageHandler, with_titles))
        routes.append((f"/parts/{view.name}", _PartHandler, given))
        if view is views[0]:
            # Without the slash, the addresses in the page would lead elsewhere.
            routes += [("", _SlashHandler, {}), ("/", _PageHandler, with_titles)]
    return routes


class _SlashHandler(tornado.web.RequestHandler):
    def get(self) -> None:
        """Lead to the page with a slash at its end."""
        query = self.request.query
        self.redirect(f"{self.request.path}/" + (f"?{query}" if query else ""))


class _Handler(tornado.web.RequestHandler):
    def initialize(self, view: type[PlainView], reader: Reader, pool: ThreadPoolExecutor) -> None:
        self._view = view
        self._reader = reader
        self._pool = pool

    async def _read(self) -> Answer:
        loop = asyncio.get_running_loop()
        read = in_this_context(self._reader.read)
        return await loop.run_in_executor(self._pool, read, self._view, self.request.query)

    def _send(self, text: str, media_type: str) -> None:
        self.set_header("Content-Type", media_type)
        self.set_header("Cache-Control", "no-store")
        self.set_header("Vary", "Accept-Encoding")
        data = text.encode("utf-8", "replace")
        if len(data) > _LEAST_PACKED and "gzip" in self.request.headers.get("Accept-Encoding", ""):
            self.set_header("Content-Encoding", "gzip")
            data = gzip.compress(data, 1)
        self.finish(data)


class _PartHandler(_Handler):
    async def get(self) -> None:
        """Answer with the content as JSON, or only with its tag if the browser has it."""
        answer = await self._read()
        self._send(answer.as_json(self.request.headers.get("X-Known", "")), "application/json")


class _PageHandler(_Handler):
    def initialize(  # type: ignore[override]
        self,
        view: type[PlainView],
        reader: Reader,
        pool: ThreadPoolExecutor,
        titles: Sequence[tuple[str, str]],
        is_live: bool,
    ) -> None:
        super().initialize(view, reader, pool)
        self._titles = titles
        self._is_live = is_live

    async def get(self) -> None:
        """Answer with the page."""
        answer = await self._read()
        view = self._view
        style = CONTENT_STYLE.replace(":host", "main") + view.style
        content = template("plain.html").render(
            name=view.name,
            tag=answer.content.tag,
            seen=answer.seen,
            age=answer.age,
            is_live=self._is_live or answer.failed,
            failed=answer.failed,
            regions=list(answer.content.regions.items()),
            addresses=json.dumps(dict(answer.content.addresses)),
            messages="".join(
                f'<div class="message">{escaped(one, _LONGEST_MESSAGE)}</div>' for one in answer.messages
            ),
            bottom=bottom(view.keys),
            scripts=[script_address(one) for one in ("navigator.js", "plain.js")],
        )
        self._send(head(view.title, view.name, self._titles, style) + content, "text/html; charset=utf-8")
