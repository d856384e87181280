"""Messages of a made night, and databases of them."""

from __future__ import annotations

from typing import Any

from prompt_processing.domain.clock import utc_to_tai
from prompt_processing.domain.outcome import Outcome, Status
from prompt_processing.domain.outcome_message import OutcomeMessage
from prompt_processing.domain.visit import FannedOutVisit

START = 1_780_290_000.0
"""2026-06-01, 05:00 UTC, in the night of 2026-05-31."""
NIGHT = 20260531

STAGES = {"queue": 0.1, "preload": 1.2, "wait": 20.0, "ingest": 0.3, "pipeline": 9.0, "alerts": 0.4}


def a_visit(number: int = 1, detector: int = 94, announced: float = START, **changes: Any) -> FannedOutVisit:
    return FannedOutVisit.model_validate(
        {
            "salIndex": 1,
            "groupId": f"2026-05-31T05:00:{number:02d}",
            "coordinateSystem": 2,
            "position": [150.1, 2.2],
            "startTime": utc_to_tai(announced),
            "rotationSystem": 2,
            "cameraAngle": 10.0,
            "filters": "i_39",
            "duration": 30.0,
            "nimages": 1,
            "instrument": "LSSTCam",
            "survey": "SURVEY",
            "private_sndStamp": utc_to_tai(announced),
            "detector": detector,
            **changes,
        }
    )


def announced(visit: FannedOutVisit, detectors: tuple[int, ...]) -> OutcomeMessage:
    return OutcomeMessage.of_visit("announced", START, visit, detectors)


def began(visit: FannedOutVisit, attempt: str = "a", at: float = START + 1) -> OutcomeMessage:
    return OutcomeMessage.of_visit("began", at, visit, (visit.detector,), attempt=attempt, host="pod-1")


def ended(
    visit: FannedOutVisit,
    attempt: str = "a",
    at: float = START + 40,
    status: Status = Status.PROCESSED,
    reason: str = "ApPipe ran on 1 of 1 snap(s), 30 dataset(s) handed over.",
    **changes: Any,
) -> OutcomeMessage:
    processed = status is Status.PROCESSED
    outcome = Outcome(
        status,
        reason,
        stages=STAGES,
        pipeline="ApPipe" if processed else None,
        counts={"numDiaSources": 12, "numAlertsSent": 10} if processed else {},
        exposures=(2026053100100 + int(visit.groupId[-2:]),) if processed else (),
        exported=30 if processed else None,
        image_arrival=at - 12 if processed else None,
        last_alert=at - 1 if processed else None,
        **changes,
    )
    return OutcomeMessage.of_outcome(
        at,
        visit,
        visit.detector,
        outcome,
        {"calibrateImage.seeing_fwhm_arcsec": 0.8 + 0.001 * visit.detector} if processed else None,
        attempt=attempt,
        began=at - 39,
        host="pod-1",
        software="0.1",
    )
