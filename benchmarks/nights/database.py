"""A database of many nights, made of copies of one visit."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from sqlalchemy import insert, select

from prompt_processing.domain.clock import utc_to_tai
from prompt_processing.domain.outcome import Outcome, Status
from prompt_processing.domain.outcome_message import OutcomeMessage
from prompt_processing.domain.visit import FannedOutVisit
from prompt_processing.nights.store import NightStore
from prompt_processing.nights.tables import DETECTORS, MINUTES, NIGHTS, VISITS, open_engine

__all__ = ["CADENCE_S", "N_DETECTORS", "fill", "messages_of"]

N_DETECTORS = 189
CADENCE_S = 37
_QUEUE_S = 2.0
_STAGES = {"queue": 0.1, "preload": 1.2, "wait": 20.0, "ingest": 0.3, "pipeline": 9.0, "alerts": 0.4}
_METRICS = {f"calibrateImage.metric{number}": float(number) for number in range(30)}


def messages_of(
    number: int, announced: float, ended: float, detectors: range = range(N_DETECTORS)
) -> Iterator[OutcomeMessage]:
    """Yield the outcomes of a visit.

    Parameters
    ----------
    number
        Number in its night.
    announced, ended
        Unix seconds, UTC.
    detectors
        Those that have ended.
    """
    rng = random.Random(number)
    for detector in detectors:
        visit = FannedOutVisit.model_validate(
            {
                "salIndex": 1,
                "groupId": datetime.fromtimestamp(announced, UTC).isoformat(timespec="milliseconds"),
                "coordinateSystem": 2,
                "position": [150.0, 2.0],
                "rotationSystem": 2,
                "filters": "i_39",
                "duration": 30.0,
                "nimages": 1,
                "instrument": "LSSTCam",
                "survey": "SURVEY",
                "private_sndStamp": utc_to_tai(announced),
                "detector": detector,
            }
        )
        failed = rng.random() < 0.02
        outcome = Outcome(
            Status.FAILED if failed else Status.PROCESSED,
            "Task calibrateImage failed: too few stars." if failed else "ApPipe ran on 1 of 1 snap(s).",
            stages={name: seconds * rng.lognormvariate(0, 0.2) for name, seconds in _STAGES.items()},
            pipeline="ApPipe",
            tasks=dict.fromkeys(("isr", "calibrateImage", "subtractImages", "associateApdb"), 1.5),
            counts={"numDiaSources": 60, "numAlertsSent": 50},
            exposures=(int(announced),),
            image_arrival=ended - 12 * rng.lognormvariate(0, 0.2),
            last_alert=ended - 1,
        )
        metrics = {name: value * rng.lognormvariate(0, 0.1) for name, value in _METRICS.items()}
        further = {"attempt": f"{number}", "began": announced + _QUEUE_S, "host": "prompt-keda-lsstcam-abcde"}
        yield OutcomeMessage.of_outcome(ended, visit, detector, outcome, metrics, **further)


def fill(path: Path, n_nights: int, n_visits: int) -> list[int]:
    """Make a database with visits of 189 detectors.

    Parameters
    ----------
    path
        SQLite file.
    n_nights, n_visits
        Numbers of nights, and of visits in all of them.

    Returns
    -------
    nights
        Observing days, oldest first.
    """
    start = datetime(2026, 4, 2, 2, 0, tzinfo=UTC)
    store = NightStore(path)
    store.write(list(messages_of(0, start.timestamp(), start.timestamp() + 40)), {})
    store.close()
    engine = open_engine(path, writing=True)
    per_night = n_visits // n_nights
    days = [date(2026, 4, 1) + timedelta(days=number) for number in range(n_nights)]
    nights = [int(f"{day:%Y%m%d}") for day in days]
    with engine.begin() as connection:
        visit = connection.execute(select(VISITS)).one()._asdict()
        detectors = [row._asdict() for row in connection.execute(select(DETECTORS))]
        night_row = connection.execute(select(NIGHTS)).one()._asdict()
        began = f'"began": {start.timestamp() + _QUEUE_S}'
        sums = {name: value for name, value in night_row.items() if name.startswith("n_")}
        for table in (VISITS, DETECTORS, NIGHTS, MINUTES):
            connection.execute(table.delete())
        for n_night, night in enumerate(nights):
            visits: list[dict[str, object]] = []
            rows: list[dict[str, object]] = []
            minutes: dict[int, dict[str, int]] = {}
            first = start.timestamp() + 86400.0 * n_night
            for number in range(per_night):
                announced = first + CADENCE_S * number
                id_ = 1 + n_night * per_night + number
                minute = int(announced // 60)
                minutes.setdefault(minute, {"announced": 0, "done": 0, "failed": 0, "alerts": 0})
                for name, value in (
                    ("announced", N_DETECTORS),
                    ("done", visit["n_done"]),
                    ("failed", visit["n_failed"]),
                    ("alerts", visit["n_alerts"]),
                ):
                    minutes[minute][name] += value
                changed = {"night": night, "announced": announced}
                visits.append(
                    {
                        **visit,
                        **changed,
                        "id": id_,
                        "group_name": f"{night}-{number}",
                        "visit": night * 100_000 + number,
                    }
                )
                times = {"announced_minute": minute, "settled_minute": minute, "changed": announced + 40}
                rows += [
                    {
                        **row,
                        **changed,
                        **times,
                        "visit_id": id_,
                        "serial": id_ * 200 + row["detector"],
                        "content": row["content"].replace(began, f'"began": {announced + _QUEUE_S}'),
                    }
                    for row in detectors
                ]
            connection.execute(insert(VISITS), visits)
            connection.execute(insert(DETECTORS), rows)
            of_night = {"night": night, "instrument": "LSSTCam"}
            connection.execute(
                insert(MINUTES), [{**of_night, "minute": minute, **one} for minute, one in minutes.items()]
            )
            total = {name: value * per_night for name, value in sums.items()}
            last = first + CADENCE_S * (per_night - 1)
            connection.execute(insert(NIGHTS), [{**of_night, **total, "first": first, "last": last}])
    engine.dispose()
    return nights
