"""Serve the navigator: one application a view, its own assets, and headers that keep the browser at home."""

from __future__ import annotations

import os
import re
import secrets
import warnings
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

import tornado.httputil
import tornado.routing
import tornado.web

from prompt_processing.domain.internals import internal
from prompt_processing.telemetry.paths import is_usual_path

from .frame import STATIC_FOLDER
from .page import View, make_page
from .plain import PlainView
from .plain_pages import plain_routes
from .sources import Sources

__all__ = ["make_server", "view_types"]

_SESSION_TIMEOUT_MS = 60_000
_TOKEN_LIFETIME_S = 600
_INLINE_SCRIPT = re.compile(rb"<script(?![^>]*\ssrc=)(?=[\s>])")


def view_types() -> tuple[type[View | PlainView], ...]:
    """Return the views, in the order of the heading."""
    from .collections.view import CollectionsView
    from .detector.view import DetectorView
    from .nights.night_view import NightView
    from .nights.visit_view import VisitView
    from .objects.view import ObjectView

    return NightView, VisitView, DetectorView, ObjectView, CollectionsView


def make_server(
    sources: Sources,
    port: int = 5006,
    prefix: str = "",
    origins: Sequence[str] = (),
    address: str | None = None,
    views: Sequence[type[View | PlainView]] | None = None,
) -> Any:
    """Make the server, which does not run yet.

    Parameters
    ----------
    sources
        What all sessions share.
    port
        Port; 0 for any free one.
    prefix
        Path under which a proxy publishes the navigator, such as ``/navigator``.
    origins
        Hosts (``host:port``) from whose pages a browser may connect; by default those of this machine.
    address
        Address to listen on; by default this machine only.
    views
        Views to serve; all by default.

    Returns
    -------
    server : `bokeh.server.server.Server`

    Raises
    ------
    OSError
        Raised if the port is unavailable.
    """
    # Read when bokeh and panel are imported: every asset comes from this server, none from a CDN.
    os.environ["BOKEH_RESOURCES"] = "server"
    # Bokeh's checks of layouts walk through all models of each session; tests make the layouts.
    os.environ["BOKEH_VALIDATE_DOC"] = "false"
    with warnings.catch_warnings():
        # Panel warns of optional packages that it does not find.
        warnings.simplefilter("ignore")
        import panel as pn
    from bokeh.server.urls import per_app_patterns

    from .early import EarlyHandler

    pn.extension(notifications=False, loading_indicator=False)
    # As Panel does with its own handlers.
    per_app_patterns[:] = [
        (route, EarlyHandler if route == "/?" else handler) for route, handler in per_app_patterns
    ]
    chosen = tuple(views) if views is not None else view_types()
    titles = [(one.name, one.title) for one in chosen]
    pages = {f"/{one.name}": make_page(one, titles, sources) for one in chosen if issubclass(one, View)}
    plain = [one for one in chosen if issubclass(one, PlainView)]
    server = pn.io.server.get_server(
        pages,
        extra_patterns=plain_routes(plain, titles, sources),
        port=port,
        address=address or "127.0.0.1",
        websocket_origin=list(origins) or None,
        prefix=prefix,
        static_dirs={"assets": str(STATIC_FOLDER)},
        liveness="health/live",
        show=False,
        start=False,
        title=dict.fromkeys(pages, "Prompt Processing"),
        use_index=False,
        # Only this header of the browser's request is kept, and only where the site trusts it.
        include_headers=[sources.places.user_header] if sources.places.user_header else [],
        include_cookies=[],
        session_token_expiration=_TOKEN_LIFETIME_S,
        unused_session_lifetime_milliseconds=_SESSION_TIMEOUT_MS,
        check_unused_sessions_milliseconds=_SESSION_TIMEOUT_MS // 4,
        transforms=[_Headers],
    )
    # Before all routes, those of Bokeh and Panel too.
    routes = internal(server, "_tornado", "bokeh").default_router
    routes.rules.insert(0, tornado.routing.Rule(_Unusual(), _NotFound))
    return server


class _Unusual(tornado.routing.Matcher):
    """Requests whose path no route has."""

    def match(self, request: tornado.httputil.HTTPServerRequest) -> dict[str, Any] | None:
        return None if is_usual_path(unquote(request.path)) else {}


class _NotFound(tornado.web.RequestHandler):
    def prepare(self) -> None:
        raise tornado.web.HTTPError(404)


class _Headers(tornado.web.OutputTransform):
    """Add headers, and a nonce to the inline scripts that Bokeh writes into its pages.

    Styles are allowed inline because Bokeh sets them on each element; other scripts and ``eval`` are not.
    """

    def __init__(self, request: tornado.httputil.HTTPServerRequest) -> None:
        super().__init__(request)
        self._nonce = secrets.token_urlsafe(16)
        self._is_page = False

    def transform_first_chunk(
        self, status_code: int, headers: tornado.httputil.HTTPHeaders, chunk: bytes, finishing: bool
    ) -> tuple[int, tornado.httputil.HTTPHeaders, bytes]:
        # Pages that are packed already have no inline scripts.
        self._is_page = (
            headers.get("Content-Type", "").startswith("text/html") and "Content-Encoding" not in headers
        )
        chunk = self.transform_chunk(chunk, finishing)
        if "Content-Length" in headers and self._is_page:
            headers["Content-Length"] = str(len(chunk))
        headers["Content-Security-Policy"] = (
            f"default-src 'self'; script-src 'self' 'nonce-{self._nonce}'; style-src 'self' 'unsafe-inline'; "
            "img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        )
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Referrer-Policy"] = "no-referrer"
        return status_code, headers, chunk

    def transform_chunk(self, chunk: bytes, finishing: bool) -> bytes:
        # Each chunk is one part of a page, which no script crosses.
        if not self._is_page:
            return chunk
        return _INLINE_SCRIPT.sub(b'<script nonce="' + self._nonce.encode() + b'"', chunk)
