"""One JSON object a line, the visit named, no credential."""

import io
import json
import logging
import re
import threading
import warnings

import pytest

from prompt_processing.domain.visit import FannedOutVisit
from prompt_processing.telemetry.handover import in_this_context
from prompt_processing.telemetry.logs import LogContext, configure_logging, timer_logger
from prompt_processing.telemetry.sasquatch import Bundle, Sasquatch, SasquatchError

NOW = 1_749_543_541.0


@pytest.fixture
def log():
    """Configure logging to a buffer; give the context and a function that reads the lines."""
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    levels = {name: logging.getLogger(name).level for name in ("lsst", "lsst.activator", "prompt_processing")}
    stream, context = io.StringIO(), LogContext("LSSTCam")

    def configure(levels=None, secrets=()):
        configure_logging(context, levels, secrets=secrets, stream=stream)
        return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]

    configure.context = context
    yield configure
    logging.captureWarnings(False)
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def visit():
    return FannedOutVisit.parse(
        {
            "salIndex": 2,
            "groupId": "the group",
            "coordinateSystem": 1,
            "rotationSystem": 1,
            "duration": 1.0,
            "nimages": 1,
            "instrument": "LSSTCam",
            "survey": "wide",
            "private_sndStamp": 0.0,
            "detector": 94,
        }
    )


def test_a_line_has_the_fields_that_operators_expect(log):
    lines = log()
    logging.getLogger("lsst.activator.test").info("Hello %s", "world\nagain")
    (line,) = lines()
    expected = "asctime level name message pathname lineno funcName process thread instrument"
    assert set(line) == set(expected.split())
    assert line["message"] == "Hello world\nagain"
    assert line["level"] == "INFO"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(Z|[+-]\d\d:\d\d)", line["asctime"])


def test_a_line_names_the_visit_while_it_lasts(log, visit):
    lines = log()
    logger = logging.getLogger("lsst.activator.test")
    with log.context.visit(visit, NOW):
        logger.info("one")
        log.context.exposures((3, 2))
        logger.info("two")
    logger.info("three")
    one, two, three = lines()
    assert (one["group"], one["survey"], one["detector"], one["day_obs"]) == (
        "the group",
        "wide",
        94,
        20250609,
    )
    assert "exposures" not in one
    assert two["exposures"] == [2, 3]
    assert "group" not in three


def test_late_message_of_another_thread_names_the_visit_that_it_is_about(log, visit, monkeypatch):
    lines = log()
    next_has_begun = threading.Event()
    later = visit.model_copy(update={"groupId": "the next group"})

    def refuse(self, bundle):
        assert next_has_begun.wait(20)
        raise SasquatchError("no answer")

    monkeypatch.setattr(Sasquatch, "post", refuse)
    sasquatch = Sasquatch("http://localhost:1", "lsst.prompt")
    with log.context.visit(visit, NOW):
        log.context.exposures((7,))
        sasquatch.submit([Bundle("metrics", {}, {})])
    with log.context.visit(later, NOW):
        next_has_begun.set()
        sasquatch.close(timeout=20)
        logging.getLogger("lsst.activator.test").info("of the next visit")
    late, current = lines()
    assert "did not reach Sasquatch" in late["message"]
    assert (late["group"], late["exposures"]) == ("the group", [7])
    assert (current["group"], "exposures" in current) == ("the next group", False)


def test_work_handed_to_several_threads_at_once_names_its_visit(log, visit):
    lines = log()
    all_inside = threading.Barrier(3, timeout=20)

    def work():
        all_inside.wait()
        logging.getLogger("lsst.activator.test").info("working")

    with log.context.visit(visit, NOW):
        handed_over = in_this_context(work)
    threads = [threading.Thread(target=handed_over) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert [line["group"] for line in lines()] == ["the group"] * 3


def test_outcome_of_another_visit_does_not_end_the_current_one(log, visit):
    lines = log()
    with log.context.visit(visit, NOW):
        with log.context.visit(visit.model_copy(update={"groupId": "another"}), NOW):
            pass
        logging.getLogger("lsst.activator.test").info("still here")
    assert lines()[0]["group"] == "the group"


def test_levels_are_quiet_for_others_and_loud_for_the_service(log):
    lines = log()
    for name in ("botocore", "lsst.daf.butler", "lsst.activator.test"):
        logging.getLogger(name).debug("debug")
        logging.getLogger(name).info("info")
        logging.getLogger(name).warning("warning")
    timer_logger("preload").debug("took a while")
    assert [(line["name"], line["level"]) for line in lines()] == [
        ("botocore", "WARNING"),
        ("lsst.daf.butler", "INFO"),
        ("lsst.daf.butler", "WARNING"),
        ("lsst.activator.test", "DEBUG"),
        ("lsst.activator.test", "INFO"),
        ("lsst.activator.test", "WARNING"),
    ]


def test_timers_are_switched_on_by_their_level(log):
    lines = log({"timer.lsst.activator": "DEBUG"})
    timer_logger("preload").debug("took a while")
    logging.getLogger("timer.lsst.activator").setLevel(logging.NOTSET)
    assert [line["name"] for line in lines()] == ["timer.lsst.activator.preload"]


def test_a_failure_carries_its_traceback_in_the_same_line(log):
    lines = log()
    try:
        raise KeyError("lost")
    except KeyError:
        logging.getLogger("lsst.activator.test").exception("failed")
    (line,) = lines()
    assert "KeyError: 'lost'" in line["exc_info"]


def test_the_outcome_is_an_object_in_its_line(log):
    lines = log()
    logging.getLogger("lsst.activator.outcome").info("done", extra={"outcome": {"status": "processed"}})
    assert lines()[0]["outcome"] == {"status": "processed"}


def test_warnings_are_lines_too(log):
    lines = log()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("careful", UserWarning, stacklevel=1)
    assert lines()[0]["name"] == "py.warnings"


def test_credentials_never_appear(log):
    lines = log(secrets=('pass"word', "hush"))
    logger = logging.getLogger("lsst.activator.test")
    logger.error('connecting with pass"word and hush to postgresql://user:s3cr3t@db:5432/apdb')
    try:
        raise ValueError("kafka://u:s3cr3t@broker refused hush")
    except ValueError:
        logger.exception("failed")
    text = json.dumps(lines())
    assert not re.search(r"hush|s3cr3t|pass\W*word", text)
    assert "postgresql://user:********@db:5432/apdb" in text
