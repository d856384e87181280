"""``GET /health``: is the worker alive, is it ready for a visit."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Response, jsonify


def make_blueprint(ready: Callable[[], bool]) -> Blueprint:
    """Make the routes.

    Parameters
    ----------
    ready : callable
        Tells whether a visit would be taken at once.

    Returns
    -------
    blueprint : `flask.Blueprint`
        ``/health/live`` always answers 200; ``/health`` and ``/health/ready``
        answer 503 while the worker is not ready.
    """
    blueprint = Blueprint("health", __name__)

    @blueprint.get("/health/live")
    def live() -> Response:
        return jsonify({"live": True})

    @blueprint.get("/health")
    @blueprint.get("/health/ready")
    def readiness() -> Response:
        is_ready = ready()
        response = jsonify({"live": True, "ready": is_ready})
        response.status_code = 200 if is_ready else 503
        return response

    return blueprint
