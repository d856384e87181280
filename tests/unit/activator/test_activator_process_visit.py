"""The story of a visit and its outcome, whatever happens on the way."""

import contextlib
import errno
import json
import logging
import os
import signal
import time

import pytest

from prompt_processing.apdb.write import AlreadyInApdbError
from prompt_processing.domain.errors import NonRetriableError, RetriableError

ALL_STEPS = ["subscribe", "preload", "preprocessing", "ingest", "pipeline", "export", "unsubscribe", "clean"]


def ended(outcome):
    return outcome.status.http, outcome.retry


def test_a_visit_is_processed_in_order_and_cleaned(world):
    outcome = world.process()
    assert ended(outcome) == (200, None)
    assert world.workspace.log == ALL_STEPS
    assert outcome.exposures == (2025061000578,)
    assert outcome.pipeline == "ApPipe"
    assert outcome.exported == 12


def test_the_outcome_tells_the_times_and_counts(world):
    outcome = world.process().as_dict()
    assert list(outcome["stages"]) == ["queue", "preload", "wait", "ingest", "pipeline", "alerts", "export"]
    assert outcome["stages"]["queue"] == pytest.approx(1.5)
    assert outcome["counts"] == {"numDiaSources": 7, "numAlertsSent": 7}
    assert outcome["tasks"] == {"isr": 1.0, "associateApdb": 2.0}
    assert outcome["image_arrival"] == world.NOW + 30.0
    assert outcome["arrival_to_alert"] == pytest.approx(11.0)
    json.dumps(outcome)


def test_the_outcome_is_logged_and_counted(world, caplog):
    with caplog.at_level(logging.DEBUG):
        outcome = world.process()
    (record,) = [record for record in caplog.records if record.name == "lsst.activator.outcome"]
    assert record.levelno == logging.INFO
    assert record.outcome == outcome.as_dict()
    assert "timer.lsst.activator.preload" in {record.name for record in caplog.records}
    text = world.metrics.render().decode()
    assert 'prompt_visits_total{instrument="LSSTCam",outcome="processed"} 1.0' in text
    assert 'prompt_stage_seconds_count{instrument="LSSTCam",stage="wait"} 1.0' in text
    assert 'prompt_arrival_to_alert_seconds_sum{instrument="LSSTCam"} 11.0' in text
    assert 'prompt_instances_processing{instrument="LSSTCam"} 0.0' in text


def test_without_alerts_there_is_no_delay(world):
    world.workspace.run.metadata = {"isr": {}}
    outcome = world.process()
    assert outcome.last_alert is None
    assert outcome.arrival_to_alert is None
    assert outcome.counts == {}


@pytest.mark.parametrize(
    ("changes", "http"),
    [
        ({"private_sndStamp": 1_700_000_000.0}, 403),
        ({"instrument": "HSC"}, 422),
        ({"instrument": "NoSuchCamera"}, 422),
        ({"instrument": ""}, 422),
        ({"detector": 205}, 422),
        ({"position": None}, 422),
        ({"coordinateSystem": 3}, 422),
        ({"rotationSystem": 4}, 422),
    ],
)
def test_a_visit_that_cannot_be_used_is_refused_before_anything_is_done(world, changes, http):
    assert ended(world.process(**changes)) == (http, None)
    assert world.workspace.log == []


def test_a_visit_without_coordinates_is_processed(world):
    assert ended(world.process(coordinateSystem=1, position=None, rotationSystem=1)) == (200, None)


def test_a_visit_that_the_configuration_skips_does_nothing(world):
    assert ended(world.process(survey="skip")) == (422, None)
    assert world.workspace.log == []


def test_a_visit_that_the_configuration_forgot_fails_for_good(world):
    assert ended(world.process(survey="nobody thought of it")) == (500, "useless")


def test_preprocessing_alone_waits_for_no_image(world):
    world.main = ()
    assert ended(world.process()) == (200, None)
    assert world.workspace.log == ["preload", "preprocessing", "clean"]


def test_the_main_pipeline_alone_still_preloads(world):
    world.preprocessing = ()
    assert ended(world.process()) == (200, None)
    assert world.workspace.log == [step for step in ALL_STEPS if step != "preprocessing"]


def test_no_image_is_a_failure_that_a_retry_does_not_mend(world):
    world.notices.at = []
    outcome = world.process()
    assert ended(outcome) == (500, "useless")
    assert "pipeline" not in world.workspace.log
    assert world.workspace.log[-1] == "clean"
    assert world.clock.now - world.NOW >= 2 * 5.0 + 20.0


def test_one_snap_of_two_is_processed(world):
    outcome = world.process(nimages=2)
    assert ended(outcome) == (200, None)
    assert outcome.exposures == (2025061000578,)
    assert "1 of 2" in outcome.reason


def test_images_of_which_none_can_be_used_are_a_failure(world):
    world.workspace.usable = 0
    assert ended(world.process()) == (500, "useless")
    assert "pipeline" not in world.workspace.log


def test_a_central_repository_that_is_gone_may_be_tried_again(world):
    world.open_failure = RetriableError("The central repository is gone.")
    assert ended(world.process()) == (503, None)


def test_a_bucket_that_is_gone_may_be_tried_again(world):
    world.images.up = False
    assert ended(world.process()) == (503, None)


def test_without_kafka_the_bucket_is_enough(world):
    world.notices.up = False
    world.images.at = [(world.NOW + 6.0, world.image())]
    assert ended(world.process()) == (200, None)


def raiser(error):
    def fail():
        raise error

    return fail


EARLY = ["preload", "ingest"]


@pytest.mark.parametrize("step", EARLY)
@pytest.mark.parametrize(
    ("error", "end"),
    [
        (RetriableError("later"), (503, None)),
        (NonRetriableError("never"), (500, "useless")),
        (ZeroDivisionError("a bug"), (500, "useless")),
    ],
)
def test_a_failure_before_the_pipeline_writes_nothing_permanent(world, step, error, end):
    world.workspace.during[step] = raiser(error)
    assert ended(world.process()) == end
    assert world.workspace.log[-1] == "clean"


@pytest.mark.parametrize(
    "error", [RetriableError("later"), NonRetriableError("never"), ZeroDivisionError("a bug")]
)
def test_main_pipelines_are_tried_after_preprocessing_has_failed(world, error, caplog):
    world.workspace.during["preprocessing"] = raiser(error)
    outcome = world.process()
    assert ended(outcome) == (200, None)
    assert outcome.pipeline == "ApPipe"
    (message,) = [text for text in caplog.messages if text.startswith("Preprocessing failed")]
    assert str(error) in message


@pytest.mark.parametrize(
    ("error", "end"), [(RetriableError("later"), (503, None)), (NonRetriableError("never"), (500, "useless"))]
)
def test_preprocessing_alone_that_fails_is_the_end_of_the_visit(world, error, end):
    world.main = ()
    world.workspace.during["preprocessing"] = raiser(error)
    assert ended(world.process()) == end


@pytest.mark.parametrize("step", ["pipeline", "export"])
@pytest.mark.parametrize(
    ("error", "written", "end"),
    [
        (RetriableError("later"), False, (503, None)),
        (RetriableError("later"), True, (500, "unsafe")),
        (RetriableError("later"), None, (500, "unsafe")),
        (NonRetriableError("never"), False, (500, "useless")),
        (NonRetriableError("never"), True, (500, "unsafe")),
        (ZeroDivisionError("a bug"), False, (500, "useless")),
        (ZeroDivisionError("a bug"), None, (500, "unsafe")),
    ],
)
def test_a_failure_from_the_pipeline_on_is_judged_by_the_apdb(world, step, error, written, end):
    world.workspace.during[step] = raiser(error)
    world.apdb = [False, written]
    assert ended(world.process()) == end
    assert world.workspace.log[-1] == "clean"


def test_a_visit_that_the_apdb_holds_is_not_run_again(world):
    world.apdb = [True]
    assert ended(world.process()) == (500, "unsafe")
    assert "pipeline" not in world.workspace.log


def test_an_apdb_that_cannot_be_asked_may_be_asked_later(world):
    world.apdb = [None]
    assert ended(world.process()) == (503, None)
    assert "pipeline" not in world.workspace.log


def test_cleaning_that_fails_does_not_change_the_outcome(world):
    world.workspace.during["clean"] = raiser(OSError("disk"))
    assert ended(world.process()) == (200, None)


def test_repository_that_cannot_be_cleaned_is_replaced(world):
    world.process()
    assert "start afresh" not in world.workspace.log
    world.workspace.during["clean"] = raiser(OSError("disk"))
    world.process()
    assert world.workspace.log[-1] == "start afresh"


@pytest.mark.parametrize("step", EARLY)
def test_a_full_disk_may_be_emptier_later(world, step):
    world.workspace.during[step] = raiser(OSError(errno.ENOSPC, "No space left on device"))
    assert ended(world.process()) == (503, None)


@pytest.mark.parametrize("written", [False, True])
def test_a_pipeline_that_failed_for_good_hands_over_what_it_has(world, written):
    world.workspace.during["pipeline"] = raiser(NonRetriableError("never"))
    world.apdb = [False, written]
    outcome = world.process()
    assert outcome.status.http == 500
    assert (world.workspace.log[-3:], outcome.exported) == (["export", "unsubscribe", "clean"], 12)


def caused_by_another_worker():
    """As the workspace wraps it."""
    failure = NonRetriableError("Task associateApdb failed", "unsafe")
    failure.__cause__ = AlreadyInApdbError(1, 2)
    return failure


@pytest.mark.parametrize(
    ("error", "written"),
    [
        (RetriableError("later"), False),
        (AlreadyInApdbError(1, 2), True),
        (caused_by_another_worker(), True),
    ],
)
def test_outputs_of_an_attempt_that_is_not_the_last_or_not_the_first_stay_here(world, error, written):
    world.workspace.during["pipeline"] = raiser(error)
    world.apdb = [False, written]
    assert world.process().exported is None
    assert "export" not in world.workspace.log


def test_outputs_of_a_failed_pipeline_that_cannot_be_handed_over_do_not_change_the_outcome(world):
    world.workspace.during["pipeline"] = raiser(NonRetriableError("never"))
    world.workspace.during["export"] = raiser(RetriableError("gone"))
    outcome = world.process()
    assert ended(outcome) == (500, "useless")
    assert "never" in outcome.reason


def test_a_second_visit_is_as_good_as_the_first(world):
    service = world.service()
    assert service.process(world.visit()).status.http == 200
    world.notices.at = [(0.0, world.notice(2025061000579))]
    outcome = service.process(world.visit(groupId="next"))
    assert outcome.exposures == (2025061000579,)


def killer(number=signal.SIGTERM):
    def kill():
        os.kill(os.getpid(), number)
        # The handler runs between two bytecodes; it must not take until the end of the step.
        deadline = time.monotonic() + 5.0
        while time.monotonic() < deadline:
            time.sleep(0.01)

    return kill


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("step", [*EARLY, "preprocessing"])
def test_a_signal_before_the_pipeline_ends_the_visit_at_once_and_retriably(world, step, number):
    world.workspace.during[step] = killer(number)
    start = time.monotonic()
    assert ended(world.process()) == (503, None)
    assert time.monotonic() - start < 3.0
    assert world.workspace.log[-1] == "clean"


def test_a_signal_while_waiting_for_images_ends_the_visit_retriably(world):
    world.clock.wait = lambda seconds: os.kill(os.getpid(), signal.SIGTERM)
    assert ended(world.process()) == (503, None)
    assert world.workspace.log[-1] == "clean"


@pytest.mark.parametrize(
    ("written", "end"), [(False, (503, None)), (True, (500, "unsafe")), (None, (500, "unsafe"))]
)
def test_a_signal_during_the_pipeline_is_judged_by_the_apdb(world, written, end):
    world.workspace.during["pipeline"] = killer()
    world.apdb = [False, written]
    assert ended(world.process()) == end
    assert world.workspace.log[-1] == "clean"


def test_a_signal_during_the_export_lets_it_finish(world):
    world.workspace.during["export"] = lambda: os.kill(os.getpid(), signal.SIGTERM)
    assert ended(world.process()) == (200, None)


def test_an_export_that_takes_longer_than_the_grace_period_is_ended(world):
    world.grace = 2.2
    world.workspace.during["export"] = killer()
    world.apdb = [False, True]
    assert ended(world.process()) == (500, "unsafe")
    assert world.workspace.log[-1] == "clean"


@pytest.mark.parametrize("signals", [1, 3])
def test_signals_while_cleaning_change_nothing(world, signals):
    def kill():
        for _ in range(signals):
            os.kill(os.getpid(), signal.SIGTERM)

    world.workspace.during["clean"] = kill
    assert ended(world.process()) == (200, None)


def test_a_second_signal_does_not_disturb_the_cleaning_after_the_first(world):
    world.workspace.during["preload"] = killer()
    world.workspace.during["clean"] = lambda: os.kill(os.getpid(), signal.SIGTERM)
    assert ended(world.process()) == (503, None)


def test_code_that_swallows_exceptions_does_not_swallow_the_signal(world):
    def stubborn():
        with contextlib.suppress(Exception):
            killer()()

    world.workspace.during["pipeline"] = stubborn
    assert ended(world.process()) == (503, None)


def test_a_signal_that_was_lost_ends_the_visit_at_the_next_step(world):
    def lost():
        with contextlib.suppress(BaseException):
            killer()()

    world.workspace.during["preload"] = lost
    assert ended(world.process()) == (503, None)
    assert "preprocessing" not in world.workspace.log


@pytest.mark.parametrize(
    ("step", "written", "end"),
    [("preload", False, (503, None)), ("pipeline", False, (503, None)), ("pipeline", True, (500, "unsafe"))],
)
def test_the_end_of_the_time_is_as_a_signal(world, step, written, end):
    world.timeout = 0.2
    world.workspace.during[step] = lambda: time.sleep(5.0)
    world.apdb = [False, written]
    outcome = world.process()
    assert ended(outcome) == end
    assert "WORKER_TIMEOUT" in outcome.reason


def test_the_handlers_of_the_server_are_called_and_come_back(world):
    told = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
    try:
        world.workspace.during["preload"] = killer()
        world.process()
        assert told == [signal.SIGTERM]
        os.kill(os.getpid(), signal.SIGTERM)
        assert told == [signal.SIGTERM, signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)
