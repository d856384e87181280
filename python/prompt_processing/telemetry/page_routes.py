"""Flask routes of the pages, for a process that also answers other requests."""

from __future__ import annotations

from flask import Blueprint, Response, request

from .pages import Pages

__all__ = ["make_blueprint"]


def make_blueprint(pages: Pages) -> Blueprint:
    """Make the routes of ``/metrics``, ``/health`` and ``/version``."""
    blueprint = Blueprint("pages", __name__)

    def show() -> Response:
        status, content_type, body = pages.answer(request.path)
        return Response(body, status=status, content_type=content_type)

    for path in Pages.PATHS:
        blueprint.add_url_rule(path, endpoint=path.replace("/", "-"), view_func=show)
    return blueprint
