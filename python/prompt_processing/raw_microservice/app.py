"""The HTTP side: one question, and whether the service is up."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from flask import Flask, Response, jsonify

from prompt_processing.instruments.raw_key import detector_number

from .service import BucketUnavailableError, PresenceService

__all__ = ["create_app"]

_LONGEST_GROUP = 200


def create_app(service: PresenceService) -> Flask:
    """Make the application.

    Parameters
    ----------
    service : `~prompt_processing.raw_microservice.service.PresenceService`
        Knows the answers.

    Returns
    -------
    app : `flask.Flask`
        A WSGI application. ``GET /<instrument>/<group>/<snap>/<raft>_<sensor>`` answers 200 whether the raw
        is there or not, 404 for what cannot exist, and 503 if nobody knows.
    """
    app = Flask("prompt_processing.raw_microservice")

    @app.get("/<instrument>/<group>/<int:snap>/<detector>")
    def presence(instrument: str, group: str, snap: int, detector: str) -> Response:
        raft, _, sensor = detector.partition("_")
        if instrument not in service.instruments:
            return _answer(404, f"{instrument} is not answered for here.")
        number = detector_number(instrument, raft, sensor)
        if number is None or len(group) > _LONGEST_GROUP:
            return _answer(404, f"{instrument} has no such raw.")
        try:
            raw = service.find(instrument, group, snap, number)
        except BucketUnavailableError as error:
            return _answer(503, str(error))
        if raw is None:
            return _answer(200, "Not there yet.")
        arrival = None if raw.arrival is None else datetime.fromtimestamp(raw.arrival, UTC).isoformat()
        uri = f"s3://{service.bucket_name}/{quote(raw.key)}"
        return _answer(200, "", present=True, uri=uri, date=arrival)

    @app.get("/health")
    @app.get("/health/live")
    @app.get("/health/ready")
    def health() -> Response:
        return jsonify({"live": True, "ready": True})

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
