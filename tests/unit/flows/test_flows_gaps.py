"""What a night left unfinished is found from its records, and nothing else."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from prompt_processing.domain.visit import NextVisit
from prompt_processing.flows.daily.catching_up.gaps import (
    Announced,
    Arrived,
    Kind,
    NightRecord,
    Outcome,
    Remedy,
    find_gaps,
)

BEGIN = 1_795_000_000.0
BEFORE = BEGIN + 1e5
DETECTORS = (0, 1, 2, 3)
COMPLETE: frozenset[str] = frozenset()


def visit(number: int) -> NextVisit:
    return NextVisit.parse(
        {
            "salIndex": 1,
            "scriptSalIndex": 1,
            "groupId": f"g{number}",
            "coordinateSystem": 2,
            "position": [10.0, 20.0],
            "startTime": BEGIN + 40 * number,
            "rotationSystem": 2,
            "cameraAngle": 0.0,
            "filters": "r",
            "dome": 2,
            "duration": 30.0,
            "nimages": 1,
            "instrument": "LSSTCam",
            "survey": "S",
            "totalCheckpoints": 1,
            "private_sndStamp": BEGIN + 40 * number,
        }
    )


class Night:
    """A night in which all went well, until a test changes it."""

    def __init__(self, n_visits: int) -> None:
        self.announced = [Announced(visit(n), DETECTORS, BEGIN + 40 * n) for n in range(n_visits)]
        self.arrived = {
            (n, d): Arrived(f"s3://raws/{n}_{d}.fits", f"g{n}", 100 + n, d, BEGIN + 40 * n + 20)
            for n in range(n_visits)
            for d in DETECTORS
        }
        self.outcomes = {
            (f"g{n}", d): Outcome("processed", BEGIN + 40 * n + 50, exposures=(100 + n,))
            for n, d in self.arrived
        }
        self.lacking: dict[tuple[int, int], frozenset[str]] = {
            (100 + n, d): COMPLETE for n, d in self.arrived
        }
        self.written = {(100 + n, d) for n, d in self.arrived}
        self.notes: set[tuple[int, int]] = set()
        self.asked: Counter[tuple[int, int]] = Counter()

    def forget_outcome(self, n: int, d: int) -> None:
        del self.outcomes[f"g{n}", d]

    def forget_products(self, n: int, d: int) -> None:
        self.lacking.pop((100 + n, d), None)
        self.written.discard((100 + n, d))

    def in_apdb(self, exposure: int, detector: int) -> bool | None:
        self.asked[exposure, detector] += 1
        return (exposure, detector) in self.written

    def record(self, **changed: Any) -> NightRecord:
        record = NightRecord(
            self.announced, list(self.arrived.values()), self.outcomes, self.lacking, self.notes, self.in_apdb
        )
        return replace(record, **changed)


def test_a_good_night_has_no_gaps_and_asks_nothing_of_the_apdb() -> None:
    night = Night(30)
    assert find_gaps(night.record(), BEFORE) == []
    assert not night.asked
    # Without the workers' own records it is the same.
    assert find_gaps(night.record(outcomes={}), BEFORE) == []


def test_exactly_the_20_planted_gaps_of_five_kinds_are_found() -> None:
    night = Night(30)
    planted: dict[tuple[str, int], Kind] = {}

    def plant(kind: Kind, number: int) -> list[tuple[int, int]]:
        begin = len(planted)
        places = [(7 * (begin + k) % 30, (begin + k) % 4) for k in range(number)]
        planted.update({(f"g{n}", d): kind for n, d in places})
        return places

    for n, d in plant(Kind.NO_IMAGE, 4):
        night.forget_products(n, d)
        night.forget_outcome(n, d)
        del night.arrived[n, d]
    for n, d in plant(Kind.NO_OUTCOME, 4):
        night.forget_products(n, d)
        night.forget_outcome(n, d)
    for n, d in plant(Kind.RETRIABLE, 4):
        night.forget_products(n, d)
        night.outcomes[f"g{n}", d] = Outcome("retriable", BEGIN, "The central repository does not answer.")
    for n, d in plant(Kind.NOT_EXPORTED, 4):
        del night.lacking[100 + n, d]
        night.forget_outcome(n, d)
    for n, d in plant(Kind.PARTLY_EXPORTED, 4):
        night.lacking[100 + n, d] = frozenset({"associateApdb_metadata"})
        night.forget_outcome(n, d)
    assert len(planted) == 20

    found = find_gaps(night.record(), BEFORE)
    assert {(gap.group, gap.detector): gap.kind for gap in found} == planted
    assert len(found) == 20
    remedies = {
        Kind.NO_IMAGE: Remedy.NONE,
        Kind.NO_OUTCOME: Remedy.PROCESS,
        Kind.RETRIABLE: Remedy.PROCESS,
        Kind.NOT_EXPORTED: Remedy.REPROCESS,
        Kind.PARTLY_EXPORTED: Remedy.REPROCESS,
    }
    assert all(gap.remedy is remedies[gap.kind] for gap in found)
    to_process = [gap for gap in found if gap.remedy is Remedy.PROCESS]
    assert all(gap.raws and gap.visit is not None for gap in to_process)
    # The APDB was asked about these images only.
    assert len(night.asked) <= 20


def test_what_the_apdb_has_is_never_processed_again() -> None:
    night = Night(1)
    for status in ("retriable", "stale", "failed", "processed", None):
        for lacking in ({}, {(100, 0): frozenset({"isr_metadata"})}):
            outcomes = {} if status is None else {("g0", 0): Outcome(status, BEGIN)}
            gaps = find_gaps(night.record(outcomes=outcomes, lacking=lacking), BEFORE)
            assert Remedy.PROCESS not in {gap.remedy for gap in gaps}, (status, lacking)


def test_while_the_apdb_does_not_answer_nothing_is_decided() -> None:
    night = Night(1)
    night.forget_products(0, 0)
    night.forget_outcome(0, 0)
    (gap,) = find_gaps(night.record(in_apdb=lambda exposure, detector: None), BEFORE)
    assert (gap.kind, gap.remedy) == (Kind.UNDECIDED, Remedy.NONE)


def test_an_export_with_a_note_is_finished_rather_than_made_again() -> None:
    night = Night(1)
    night.notes = {(100, 2)}
    del night.lacking[100, 2]
    (gap,) = find_gaps(night.record(), BEFORE)
    assert (gap.detector, gap.kind, gap.remedy) == (2, Kind.NOT_EXPORTED, Remedy.FINISH_EXPORT)


def test_a_raw_without_announcement_is_found() -> None:
    night = Night(2)
    night.forget_products(1, 3)
    night.forget_outcome(1, 3)
    (gap,) = find_gaps(night.record(announced=()), BEFORE)
    assert (gap.group, gap.detector, gap.kind, gap.visit) == ("g1", 3, Kind.NO_OUTCOME, None)
    assert [raw.exposure for raw in gap.raws] == [101]


@pytest.mark.parametrize(
    ("outcome", "is_gap"),
    [
        (Outcome("skipped", BEGIN + 50), False),
        (Outcome("invalid", BEGIN + 50), False),
        (Outcome("processed", BEGIN + 50, "Preprocessing done."), False),
        (Outcome("processed", BEGIN + 50, exposures=(100,)), True),
        (Outcome("failed", BEGIN + 50, retry="useless", exposures=(100,)), False),
        # The worker waited in vain: its raw came 20 s after the announcement, before or after the end.
        (Outcome("failed", BEGIN + 50, "No image arrived within 10 s.", "useless"), False),
        (Outcome("failed", BEGIN + 10, "No image arrived within 10 s.", "useless"), True),
        (Outcome("stale", BEGIN + 50), True),
    ],
)
def test_an_outcome_that_is_final_is_no_gap(outcome: Outcome, is_gap: bool) -> None:
    night = Night(1)
    night.forget_products(0, 1)
    night.outcomes["g0", 1] = outcome
    assert len(find_gaps(night.record(), BEFORE)) == is_gap


def test_what_workers_may_still_have_in_hand_is_left_to_them() -> None:
    night = Night(3)
    for n in range(3):
        night.forget_products(n, 0)
        night.forget_outcome(n, 0)
    # The third visit's raw arrived 100 s after the first visit was announced.
    assert [gap.group for gap in find_gaps(night.record(), BEGIN + 100)] == ["g0", "g1"]


def test_snaps_of_a_visit_are_one_gap_and_a_raw_sent_twice_is_one_raw() -> None:
    night = Night(1)
    night.forget_products(0, 0)
    night.forget_outcome(0, 0)
    raw = night.arrived[0, 0]
    night.arrived[1, 0] = replace(raw, exposure=101)
    night.arrived[2, 0] = replace(raw, uri="s3://raws/again.fits")
    (gap,) = find_gaps(night.record(), BEFORE)
    assert [one.exposure for one in gap.raws] == [100, 101]
    # One of the snaps in the APDB is enough.
    night.written.add((101, 0))
    (gap,) = find_gaps(night.record(), BEFORE)
    assert gap.kind is Kind.NOT_EXPORTED
