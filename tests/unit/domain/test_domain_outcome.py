"""How a visit ended."""

import pytest

from prompt_processing.domain.outcome import Outcome, StageTimes, Status


def test_the_time_of_a_stage_counts_even_if_it_fails():
    clock = iter([0.0, 2.0, 10.0, 13.0])
    times = StageTimes(lambda: next(clock))
    with pytest.raises(KeyError), times.measure("ingest"):
        raise KeyError
    with times.measure("preload"):
        pass
    assert list(times.as_dict().items()) == [("preload", 3.0), ("ingest", 2.0)]
    assert times.current == "preload"


def test_arrival_to_alert_needs_both_ends():
    assert Outcome(Status.PROCESSED, "", image_arrival=100.0, last_alert=112.5).arrival_to_alert == 12.5
    assert Outcome(Status.PROCESSED, "", image_arrival=100.0).arrival_to_alert is None


def test_each_end_has_the_http_answer_of_the_contract():
    assert {status.label: status.http for status in Status} == {
        "processed": 200,
        "malformed": 400,
        "stale": 403,
        "skipped": 422,
        "invalid": 422,
        "failed": 500,
        "retriable": 503,
    }
    assert Outcome(Status.RETRIABLE, "later").as_dict()["http"] == 503
