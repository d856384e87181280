"""The records of a night are read from files and buckets as others wrote them."""

from __future__ import annotations

import json
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from prompt_processing.domain.clock import utc_to_tai
from prompt_processing.domain.outcome import Outcome, Status
from prompt_processing.domain.outcome_message import OutcomeMessage
from prompt_processing.domain.visit import FannedOutVisit
from prompt_processing.flows.daily.catching_up.announcements import (
    announced_visits,
    lines_of,
    published_outcomes,
    recorded_visit,
)
from prompt_processing.flows.daily.catching_up.raws import raws_in_bucket
from prompt_processing.flows.daily.values import day_of, nights_between, noon_of
from prompt_processing.flows.errors import FlowError
from prompt_processing.instruments.raw_key import format_raw_key
from prompt_processing.instruments.raw_store import RawStore
from prompt_processing.transport.s3 import make_s3_client

NIGHT = 20260110
EVENING = noon_of(NIGHT) + 12 * 3600


def visit(group: str, at: float, instrument: str = "LSSTCam", detector: int = 5) -> FannedOutVisit:
    return FannedOutVisit.parse(
        {
            "salIndex": 1,
            "groupId": group,
            "coordinateSystem": 2,
            "position": [1.0, 2.0],
            "startTime": utc_to_tai(at + 20),
            "rotationSystem": 2,
            "cameraAngle": 0.0,
            "filters": "r_57",
            "duration": 30.0,
            "nimages": 1,
            "instrument": instrument,
            "survey": "S",
            "private_sndStamp": utc_to_tai(at),
            "detector": detector,
        }
    )


def test_announcements_of_the_night_and_the_camera_are_read_whatever_else_the_file_has(
    tmp_path: Path,
) -> None:
    rows = [
        visit("a", EVENING).model_dump(mode="json"),
        {
            "kind": "announcement",
            "time": EVENING,
            "message": visit("b", EVENING + 40).model_dump(mode="json"),
        },
        {"kind": "arrival", "time": EVENING, "message": {"Records": []}},
        # Announced again.
        visit("a", EVENING + 5).model_dump(mode="json"),
        visit("yesterday", EVENING - 86400).model_dump(mode="json"),
        visit("another camera", EVENING, "LATISS").model_dump(mode="json"),
        {"kind": "announcement", "message": "nonsense"},
    ]
    path = tmp_path / "announced.jsonl"
    path.write_text("\n".join([*map(json.dumps, rows), "{not JSON", ""]))
    found = announced_visits(lines_of(path), recorded_visit, "LSSTCam", NIGHT, lambda visit: (3, 4))
    assert [(one.visit.groupId, one.detectors) for one in found] == [("a", (3, 4)), ("b", (3, 4))]
    assert found[0].at == pytest.approx(EVENING + 5, abs=1e-3)
    with pytest.raises(FlowError, match=r"absent.jsonl cannot be read"):
        list(lines_of(tmp_path / "absent.jsonl"))


def test_the_last_outcome_of_each_detector_counts_in_any_order_of_the_files(tmp_path: Path) -> None:
    def message(detector: int, at: float, status: Status, reason: str) -> bytes:
        outcome = Outcome(status, reason, exposures=(7,))
        return OutcomeMessage.of_outcome(at, visit("a", EVENING), detector, outcome).encode()

    began = OutcomeMessage.of_visit("began", EVENING + 500, visit("a", EVENING), (1,)).encode()
    files = {
        "20260110/late.jsonl": [message(1, EVENING + 300, Status.PROCESSED, "again"), began],
        "20260110/late_2.jsonl": [
            message(1, EVENING + 60, Status.RETRIABLE, "the store"),
            message(2, EVENING + 60, Status.FAILED, "bad"),
            b"rubbish",
        ],
    }
    for name, lines in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\n".join(lines) + b"\n")
    found = published_outcomes(lines_of(tmp_path), "LSSTCam", NIGHT)
    assert {share: one.status for share, one in found.items()} == {("a", 1): "processed", ("a", 2): "failed"}
    assert found["a", 1].exposures == (7,)
    assert published_outcomes(lines_of(tmp_path), "LSSTCam", NIGHT + 1) == {}


@mock_aws
def test_raws_of_the_night_are_listed_with_the_groups_of_their_sidecars() -> None:
    client = make_s3_client(credentials=("a", "b"), region="us-east-1")
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="raws")
    for exposure, detector in ((7, 5), (7, 6), (8, 5)):
        raw = format_raw_key("LSSTCam", detector, NIGHT * 100_000 + exposure)
        client.put_object(Bucket="raws", Key=raw.key, Body=b"")
        sidecar = {"GROUPID": f"g{exposure}"} if exposure == 7 else {}
        client.put_object(Bucket="raws", Key=raw.sidecar_key(), Body=json.dumps(sidecar).encode())
    tomorrow = format_raw_key("LSSTCam", 5, (NIGHT + 1) * 100_000 + 1).key
    client.put_object(Bucket="raws", Key=tomorrow, Body=b"")
    found = raws_in_bucket(RawStore(client, "raws"), "LSSTCam", NIGHT)
    # The group of the other exposure is unknown, so that it belongs to no visit.
    assert [(one.group, one.exposure % 100_000, one.detector) for one in found] == [
        ("g7", 7, 5),
        ("g7", 7, 6),
    ]
    assert found[0].uri.startswith(f"s3://raws/LSSTCam/{NIGHT}/")
    with pytest.raises(FlowError, match="the image bucket absent does not answer"):
        raws_in_bucket(RawStore(client, "absent"), "LSSTCam", NIGHT)


def test_nights_that_are_none_are_refused() -> None:
    assert nights_between(()) is None
    assert nights_between((20260110,)) == (20260110, 20260110)
    for wrong in ((20260111, 20260110), (1, 2), (20260110, 20260111, 20260112)):
        with pytest.raises(FlowError, match="FIRST,LAST"):
            nights_between(wrong)
    assert day_of("2026-01-10") == NIGHT
    for wrong_day in ("2026-13-01", "yesterday", ""):
        with pytest.raises(FlowError, match="is not a day, YYYY-MM-DD"):
            day_of(wrong_day)
