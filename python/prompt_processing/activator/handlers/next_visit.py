"""``POST /next-visit``: the visit of one detector."""

from __future__ import annotations

import logging

from flask import Blueprint, Response, jsonify, request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import RequestEntityTooLarge

from prompt_processing.activator.handlers.cloud_event import event_data
from prompt_processing.activator.services.process_visit import ProcessVisit
from prompt_processing.domain.errors import MalformedMessageError
from prompt_processing.domain.outcome import Outcome, Status
from prompt_processing.domain.visit import FannedOutVisit
from prompt_processing.telemetry.credentials import CredentialMask

_log = logging.getLogger("lsst.activator.handlers.next_visit")

RETRY_AFTER = "30"
"""Seconds after which a sender may retry."""


def make_blueprint(process_visit: ProcessVisit, mask: CredentialMask) -> Blueprint:
    """Make the routes.

    Parameters
    ----------
    process_visit : `~prompt_processing.activator.services.process_visit.ProcessVisit`
        The service.
    mask : `~prompt_processing.telemetry.credentials.CredentialMask`
        Masks credentials in the errors of other libraries.

    Returns
    -------
    blueprint : `flask.Blueprint`
        The routes.
    """
    blueprint = Blueprint("next_visit", __name__)

    @blueprint.post("/next-visit")
    def next_visit() -> Response:
        try:
            visit = FannedOutVisit.parse(event_data(dict(request.headers), _body()))
        except RequestEntityTooLarge:
            return _too_large()
        except (OSError, ParseException) as error:
            # The client disconnected, stopped sending, or sent malformed chunks.
            outcome = Outcome(Status.MALFORMED, f"The request did not arrive completely: {error}")
            process_visit.record(outcome)
        except MalformedMessageError as error:
            outcome = Outcome(Status.MALFORMED, error.reason)
            process_visit.record(outcome)
        else:
            outcome = process_visit.process(visit)
        return _answer(outcome, mask)

    return blueprint


def _body() -> bytes:
    body = request.get_data()
    limit = request.max_content_length
    if request.content_length is None and limit is not None and len(body) >= limit:
        # Without an announced length, werkzeug reads up to the limit and ignores the rest.
        raise RequestEntityTooLarge
    return body


def _too_large() -> Response:
    reason = f"The request has more than {request.max_content_length} bytes: it is not a visit."
    _log.warning("%s It was not read to its end.", reason)
    response = jsonify({"message": reason})
    response.status_code = RequestEntityTooLarge.code
    return response


def _answer(outcome: Outcome, mask: CredentialMask) -> Response:
    response = jsonify(mask.value({"message": outcome.reason, "outcome": outcome.as_dict()}))
    response.status_code = outcome.status.http
    if outcome.status is Status.RETRIABLE:
        response.headers["Retry-After"] = RETRY_AFTER
    return response
