"""``GET /version``: what runs here."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Response, jsonify

from prompt_processing.telemetry.running_version import RunningVersion


def make_blueprint(version: Callable[[], RunningVersion]) -> Blueprint:
    """Make the route.

    Parameters
    ----------
    version : callable
        Tells it.

    Returns
    -------
    blueprint : `flask.Blueprint`
        The route.
    """
    blueprint = Blueprint("version", __name__)

    @blueprint.get("/version")
    def show() -> Response:
        return jsonify(version().as_dict())

    return blueprint
