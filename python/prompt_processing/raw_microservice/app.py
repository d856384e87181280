"""Web application of the raw microservice."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from flask import Flask, Response, g, jsonify
from prometheus_client import generate_latest

from prompt_processing.instruments.raw_key import detector_number
from prompt_processing.telemetry import page_routes
from prompt_processing.telemetry.health import Health
from prompt_processing.telemetry.pages import Pages

from .metrics import MicroserviceMetrics
from .service import BucketUnavailableError, PresenceService

__all__ = ["create_app"]

_LONGEST_GROUP = 200


def create_app(service: PresenceService, health: Health, metrics: MicroserviceMetrics | None = None) -> Flask:
    """Make the web application.

    Parameters
    ----------
    service : `~prompt_processing.raw_microservice.service.PresenceService`
        The service.
    health : `~prompt_processing.telemetry.health.Health`
        Liveness and readiness.
    metrics : `~prompt_processing.raw_microservice.metrics.MicroserviceMetrics`, optional
        Metrics that ``/metrics`` shows.

    Returns
    -------
    app : `flask.Flask`
        A WSGI application. ``GET /<instrument>/<group>/<snap>/<raft>_<sensor>`` answers 200 whether or not
        the raw has arrived, 404 if it cannot exist, and 503 if the bucket does not answer.
    """
    app = Flask("prompt_processing.raw_microservice")
    counts = metrics or MicroserviceMetrics()

    @app.before_request
    def begin() -> None:
        g.began = time.monotonic()

    @app.get("/<instrument>/<group>/<int:snap>/<detector>")
    def presence(instrument: str, group: str, snap: int, detector: str) -> Response:
        raft, _, sensor = detector.partition("_")
        if instrument not in service.instruments:
            return answered("impossible", 404, f"This service does not support {instrument}.")
        number = detector_number(instrument, raft, sensor)
        if number is None or len(group) > _LONGEST_GROUP:
            return answered("impossible", 404, f"{instrument} has no such raw.")
        try:
            raw = service.find(instrument, group, snap, number)
        except BucketUnavailableError as error:
            return answered("unknown", 503, str(error))
        if raw is None:
            return answered("absent", 200, "Not arrived yet.")
        arrival = None if raw.arrival is None else datetime.fromtimestamp(raw.arrival, UTC).isoformat()
        uri = f"{service.bucket_uri}/{quote(raw.key)}"
        return answered("present", 200, "", present=True, uri=uri, date=arrival)

    def answered(answer: str, status: int, message: str, **found: Any) -> Response:
        counts.answered(answer, time.monotonic() - g.began)
        return _answer(status, message, **found)

    app.register_blueprint(
        page_routes.make_blueprint(Pages(health, lambda: generate_latest(counts.registry)))
    )
    return app


def _answer(
    status: int, message: str, *, present: bool = False, uri: str | None = None, date: str | None = None
) -> Response:
    body: dict[str, Any] = {
        "error": status != 200,
        "message": message,
        "present": present,
        "uri": uri,
        "date": date,
    }
    response = jsonify(body)
    response.status_code = status
    return response
