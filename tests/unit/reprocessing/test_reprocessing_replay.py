"""A replay sends the messages of a night at their times, as if they were new."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from night_messages import START, a_visit

from prompt_processing.cli.main import run
from prompt_processing.domain.clock import tai_to_utc, utc_to_tai
from prompt_processing.domain.notices import parse_notices
from prompt_processing.domain.visit import NextVisit
from prompt_processing.reprocessing.errors import ReprocessingError
from prompt_processing.reprocessing.replay.planning import plan_replay, restamped_notice, restamped_visit
from prompt_processing.reprocessing.replay.recording import (
    Recorded,
    announcement,
    arrival,
    of_night,
    read_recording,
    write_recording,
)
from prompt_processing.reprocessing.replay.sending import replay

NOW = START + 1e7


def visit(number: int, at: float) -> Recorded:
    fields = a_visit(number, announced=at, startTime=utc_to_tai(at + 20.0)).model_dump(exclude={"detector"})
    return announcement(NextVisit.model_validate(fields))


def notice(key: str, at: str) -> Recorded:
    record = {"eventName": "ObjectCreated:Put", "eventTime": at, "s3": {"object": {"key": key}}}
    found = arrival(json.dumps({"Records": [record]}), 0.0)
    assert found is not None
    return found


def night() -> list[Recorded]:
    return [
        notice("LSSTCam/b.fits", "2026-06-01T05:01:15Z"),
        visit(2, START + 40.0),
        visit(1, START),
        notice("LSSTCam/a.fits", "2026-06-01T05:00:35.500Z"),
    ]


def test_messages_keep_their_order_and_their_pauses_shrink() -> None:
    plan = plan_replay(night(), 10.0)
    assert [one.after for one in plan] == pytest.approx([0.0, 3.55, 4.0, 7.5])
    assert [one.kind for one in plan] == ["announcement", "arrival", "announcement", "arrival"]
    assert [one.after for one in plan_replay(night(), 1.0)] == pytest.approx([0.0, 35.5, 40.0, 75.0])


def test_long_pauses_are_cut_and_short_ones_stay() -> None:
    plan = plan_replay(night(), 1.0, longest_pause=10.0)
    assert [one.after for one in plan] == pytest.approx([0.0, 10.0, 14.5, 24.5])


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan")])
def test_speed_that_is_not_positive_is_refused(speed: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        plan_replay(night(), speed)


def test_nothing_is_planned_for_a_night_without_messages() -> None:
    assert plan_replay([], 10.0) == []


def test_visit_is_new_to_its_receivers_and_still_the_same_visit() -> None:
    sent = restamped_visit(plan_replay([visit(1, START)], 10.0)[0], NOW, 10.0)
    assert sent.age(NOW + 1.0) == pytest.approx(1.0)
    assert tai_to_utc(sent.startTime) == pytest.approx(NOW + 2.0)
    assert sent.duration == 3.0
    same = {"private_sndStamp", "startTime", "duration"}
    assert sent.model_dump(exclude=same) == NextVisit.parse(visit(1, START).text).model_dump(exclude=same)


def test_notice_has_the_time_of_its_sending_and_the_same_key() -> None:
    sending = plan_replay([notice("LSSTCam/a+b%20.fits", "2026-06-01T05:00:35Z")], 1.0)[0]
    before, after = parse_notices(sending.text)[0], parse_notices(restamped_notice(sending, NOW))[0]
    assert after.keys == before.keys
    assert after.arrival == pytest.approx(NOW, abs=0.001)


def test_recording_keeps_every_message(tmp_path: Path) -> None:
    path = tmp_path / "night.jsonl"
    assert write_recording(path, night()) == 4
    again = list(read_recording(path))
    assert [(one.kind, one.time) for one in again] == [(one.kind, one.time) for one in night()]
    assert [json.loads(one.text) for one in again] == [json.loads(one.text) for one in night()]


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"kind": "announcement", "time": 1}',
        '{"kind": "announcement", "time": 1, "message": {"groupId": 3}}',
        '{"kind": "gossip", "time": 1, "message": {}}',
        '{"kind": "arrival", "time": 1, "message": {}}',
    ],
)
def test_line_that_is_no_message_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "night.jsonl"
    write_recording(path, night())
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(ReprocessingError, match=r"night\.jsonl, line 5: not a recorded message"):
        list(read_recording(path))


def test_messages_of_other_nights_are_left_out() -> None:
    later = visit(3, START + 86_400.0)
    assert [one.time for one in of_night([later, *night()], "2026-05-31")] == sorted(
        one.time for one in night()
    )


def test_messages_are_sent_at_their_times_and_delays_do_not_add_up() -> None:
    now = [NOW]
    sent: list[tuple[str, float]] = []

    def spend(seconds: float) -> None:
        now[0] += seconds

    def announce(one: NextVisit) -> None:
        sent.append((one.groupId[-2:], now[0] - NOW))
        spend(2.0)  # a slow broker

    def notify(text: str) -> None:
        sent.append((parse_notices(text)[0].keys[0], now[0] - NOW))

    report = replay(plan_replay(night(), 10.0), 10.0, announce, notify, clock=lambda: now[0], sleep=spend)
    assert [name for name, _ in sent] == ["01", "LSSTCam/a.fits", "02", "LSSTCam/b.fits"]
    assert [at for _, at in sent] == pytest.approx([0.0, 3.55, 4.0, 7.5])
    assert (report.announcements, report.arrivals, report.skipped) == (2, 2, 0)
    silent = replay(plan_replay(night(), 10.0), 10.0, announce, None, clock=lambda: now[0], sleep=spend)
    assert (silent.announcements, silent.arrivals, silent.skipped) == (2, 0, 2)


def test_command_sends_nothing_without_a_topic(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "night.jsonl"
    write_recording(path, night())
    assert run("replay", "2026-05-31", "--recording", str(path), "--speed", "10") == 0
    shown = capsys.readouterr().out
    assert "2 announcements and 2 arrival notices in 7.5 s" in shown
    assert "LSSTCam/a.fits" in shown
    assert "Nothing was sent: name the topic of the announcements with --to." in shown
    assert run("replay", "2026-06-05", "--recording", str(path)) == 1
    assert "no messages of the night" in capsys.readouterr().err
