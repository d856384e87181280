"""The web application of the board."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dash import ClientsideFunction, Dash, Input, Output
from dash.development.base_component import Component
from dash.exceptions import DependencyException
from flask import Flask, Response, request

from prompt_processing.nights.reading import Nights
from prompt_processing.telemetry import page_routes
from prompt_processing.telemetry.health import Health
from prompt_processing.telemetry.pages import Pages
from prompt_processing.telemetry.paths import is_usual_path

from .layout import page
from .snapshot import Choice, Snapshot, SnapshotReader
from .view import ELEMENTS, is_silent, view_of

__all__ = ["make_app"]

_NIGHT = re.compile(r"(\d{4})-(\d{2})-(\d{2})", re.ASCII)
_LONGEST_NAME = 100
_MOST_KEPT = 16
_INDEX = """<!DOCTYPE html>
<html lang="en">
<head>
{%metas%}
<title>{%title%}</title>
{%favicon%}
{%css%}
</head>
<body>
{%app_entry%}
{%config%}
{%scripts%}
{%renderer%}
</body>
</html>
"""
_SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


@dataclass(frozen=True, slots=True)
class _Body:
    """A view as it is sent."""

    plain: bytes
    packed: bytes
    tag: str


def make_app(nights: Nights, prefix: str = "/", *, now: Callable[[], float] = time.time) -> Flask:
    """Make the application.

    Parameters
    ----------
    nights
        The database.
    prefix
        Path under which browsers find the page, such as ``/board/``.
    now
        Returns Unix seconds, UTC.

    Returns
    -------
    app
        A WSGI application, whose requests are all answered without state: any replica can answer any of them.
    """
    prefix = f"/{prefix.strip('/')}/".replace("//", "/")
    server = Flask("prompt_processing.board")
    dash = Dash(
        "prompt_processing.board",
        server=server,
        title="Night board",
        # The title would blink with every refresh.
        update_title="",
        serve_locally=True,
        assets_folder=str(Path(__file__).parent / "assets"),
        requests_pathname_prefix=prefix,
        routes_pathname_prefix=prefix,
        compress=False,
        index_string=_INDEX,
    )
    dash.layout = page()
    dash.clientside_callback(
        ClientsideFunction("board", "refresh"),
        [Output(name, attribute) for name, attribute in ELEMENTS],
        Input("tick", "n_intervals"),
        Input("url", "search"),
    )
    views = _Views(SnapshotReader(nights, now), now)
    server.add_url_rule(f"{prefix}_view", view_func=views.answer)
    _guard(server, prefix, _policy(dash))
    # The page is of use without the database, which it reports itself.
    health = Health(details=lambda: {"database": views.database_answers})
    server.register_blueprint(page_routes.make_blueprint(Pages(health, lambda: b"")))
    # Dash serves only files that a page of this process has named. Another replica may have sent the page.
    server.test_client().get(prefix)
    return server


class _Views:
    """Answers with views; each is made once for all viewers."""

    def __init__(self, reader: SnapshotReader, now: Callable[[], float]) -> None:
        self._reader = reader
        self._now = now
        self._making = threading.Lock()
        self._kept: OrderedDict[Choice, tuple[object, _Body]] = OrderedDict()
        self.database_answers = True

    def answer(self) -> Response:
        """Answer a request for a view; 304 if the browser has it."""
        snapshot = self._reader.read(_choice())
        self.database_answers = not snapshot.problem
        body = self._body(snapshot)
        response = Response(content_type="application/json")
        response.set_etag(body.tag)
        response.headers["Cache-Control"] = "no-cache"
        response.headers["Vary"] = "Accept-Encoding"
        if request.if_none_match.contains(body.tag):
            response.status_code = 304
            return response
        if request.accept_encodings.quality("gzip") > 0:
            response.headers["Content-Encoding"] = "gzip"
            response.set_data(body.packed)
        else:
            response.set_data(body.plain)
        return response

    def _body(self, snapshot: Snapshot) -> _Body:
        now = self._now()
        # What the view depends on, apart from the time of its last reading.
        silent = is_silent(snapshot, now)
        key = (snapshot.cursor, snapshot.problem, silent, snapshot.night, int(now // 10), snapshot.read > 0)
        before, body = self._kept.get(snapshot.choice, (None, None))
        if body is not None and before == key:
            return body
        # One thread makes the new view. The others do not wait for it, unless they have nothing to show.
        if not self._making.acquire(blocking=body is None):
            assert body is not None
            return body
        try:
            before, body = self._kept.get(snapshot.choice, (None, None))
            if body is not None and before == key:
                return body
            body = _encode(view_of(snapshot, now), current=not (snapshot.problem or silent))
            self._kept[snapshot.choice] = key, body
            self._kept.move_to_end(snapshot.choice)
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
            return body
        finally:
            self._making.release()


def _encode(view: dict[str, Any], *, current: bool) -> _Body:
    content = json.dumps([view[name] for name, _ in ELEMENTS], default=_plain)
    tag = hashlib.sha256(f"{current}{content}".encode()).hexdigest()[:24]
    plain = f'{{"revision": "{tag}", "current": {json.dumps(current)}, "content": {content}}}'.encode()
    return _Body(plain, gzip.compress(plain, 5), tag)


def _plain(value: object) -> dict[str, Any]:
    if isinstance(value, Component):
        plain: dict[str, Any] = value.to_plotly_json()
        return plain
    raise TypeError(f"A view holds a {type(value).__name__}.")


def _choice() -> Choice:
    """Read the query; what is unusable counts as not given."""
    found = _NIGHT.fullmatch(request.args.get("night", ""))
    night = int("".join(found.groups())) if found else None
    instrument = request.args.get("instrument", "")
    return Choice(night, instrument if 0 < len(instrument) <= _LONGEST_NAME else None)


def _policy(dash: Dash) -> str:
    """Return the content security policy.

    Scripts are the application's own files and dash's one constant line, by its hash. Neither inline scripts
    nor eval are allowed. Styles may be inline: plotly writes them into the elements that it draws.
    """
    scripts = " ".join(["'self'", *dash.csp_hashes()])
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {scripts}",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data:",
            "font-src 'self'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )


def _guard(server: Flask, prefix: str, policy: str) -> None:
    unused = (f"{prefix}_dash-update-component", f"{prefix}_reload-hash")

    @server.before_request
    def refuse() -> tuple[str, int] | None:
        if request.method not in ("GET", "HEAD"):
            return "The board only reads.\n", 405
        # Dash answers there for callbacks on the server, of which there are none.
        missing = request.path.startswith(unused) or not is_usual_path(request.path)
        return ("Not found.\n", 404) if missing else None

    @server.errorhandler(DependencyException)
    def unknown_file(error: DependencyException) -> tuple[str, int]:
        return "Not found.\n", 404

    @server.after_request
    def protect(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = policy
        for name, value in _SAFE_HEADERS.items():
            response.headers[name] = value
        return response
