"""``GET /metrics``: what Prometheus reads."""

from __future__ import annotations

from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_LATEST

from prompt_processing.telemetry.metrics import Metrics


def make_blueprint(metrics: Metrics) -> Blueprint:
    """Make the route.

    Parameters
    ----------
    metrics : `~prompt_processing.telemetry.metrics.Metrics`
        The metrics.

    Returns
    -------
    blueprint : `flask.Blueprint`
        The route.
    """
    blueprint = Blueprint("metrics", __name__)

    @blueprint.get("/metrics")
    def show() -> Response:
        return Response(metrics.render(), content_type=CONTENT_TYPE_LATEST)

    return blueprint
