import io
import json
import logging

import pytest
from fuzz_inputs import VALUES, json_bytes, many_inputs
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from prompt_processing.cli.main import run
from prompt_processing.domain.outcome import Outcome, Status
from prompt_processing.domain.visit import FannedOutVisit
from prompt_processing.operators.log_lines import LogLine, read_line
from prompt_processing.operators.show import show_line, show_visit
from prompt_processing.operators.visit_log import Filter, VisitCollector, collect
from prompt_processing.telemetry.logs import JsonFormatter, LogContext

GOOD = {
    "asctime": "2025-06-10T08:19:01.123+00:00",
    "level": "INFO",
    "name": "lsst.activator.outcome",
    "message": "processed: ApPipe ran",
    "instrument": "LSSTCam",
    "group": "g1",
    "detector": 94,
    "process": 7,
    "outcome": {
        "status": "processed",
        "reason": "ApPipe ran",
        "retry": None,
        "stages": {"preload": 1.5, "pipeline": 12.25},
        "tasks": {"isr": 2.0, "calibrateImage": 4.5},
        "counts": {"numDiaSources": 7},
        "arrival_to_alert": 14.5,
    },
}


def failed(**changes):
    outcome = {
        "status": "failed",
        "reason": "The APDB is gone.",
        "retry": "unsafe",
        "stages": {"preload": 1.0},
    }
    return json.dumps({**GOOD, "outcome": outcome, **changes})


def written(record_level, message, visit=None, **extra):
    """Give the line that the service itself would write."""
    context = LogContext("LSSTCam")
    formatter = JsonFormatter(context)
    record = logging.LogRecord("lsst.activator.x", record_level, __file__, 1, message, (), None)
    for name, value in extra.items():
        setattr(record, name, value)
    if visit is None:
        return formatter.format(record)
    with context.visit(visit, 1_749_543_541.0):
        return formatter.format(record)


VISIT = FannedOutVisit.parse(
    {
        "salIndex": 2,
        "groupId": "2025-06-10T08:18:28.123",
        "coordinateSystem": 2,
        "position": [155.5, -4.25],
        "rotationSystem": 2,
        "duration": 5.0,
        "nimages": 1,
        "instrument": "LSSTCam",
        "survey": "wide",
        "private_sndStamp": 1749543576.5,
        "detector": 94,
    }
)


def test_what_the_service_writes_is_read():
    outcome = Outcome(Status.PROCESSED, "ApPipe ran", stages={"preload": 1.5})
    line = read_line(written(logging.INFO, "processed: ApPipe ran", VISIT, outcome=outcome.as_dict()))
    assert line.is_ours
    assert line.visit == ("LSSTCam", VISIT.groupId, 94)
    assert line.level == "INFO"
    assert line.time is not None
    assert line.outcome["stages"] == {"preload": 1.5}


@pytest.mark.parametrize(
    "prefix", ["", "[pod/worker-abc/activator] ", "2025-06-10T08:19:01.123456789Z ", "worker-1 activator "]
)
def test_what_kubectl_puts_before_a_line_does_not_hide_it(prefix):
    line = read_line(prefix + json.dumps(GOOD))
    assert line.visit == ("LSSTCam", "g1", 94)


@pytest.mark.parametrize(
    "text",
    ["", "plain words", "{", '{"a": 1}', "[1]", '{"level": "INFO"}', '{"message": 3, "level": "INFO"}'],
)
def test_lines_of_others_are_kept_as_they_are(text):
    line = read_line(text + "\n")
    assert line == LogLine(text)


def test_commands_to_a_terminal_are_not_passed_on():
    line = read_line(json.dumps({**GOOD, "message": "\x1b[2J\x9b31m\u202egone", "group": "\x1b]0;x\x07"}))
    assert not {"\x1b", "\x9b", "\u202e", "\x07"} & set(line.text + line.group)


@many_inputs()
@given(
    text=st.one_of(
        json_bytes(GOOD).map(lambda content: content.decode("latin-1")),
        st.dictionaries(st.sampled_from(sorted(GOOD)), VALUES).map(lambda d: json.dumps({**GOOD, **d})),
        VALUES.map(lambda value: json.dumps({**GOOD, "outcome": value})),
        st.dictionaries(st.sampled_from(sorted(GOOD["outcome"])), VALUES).map(
            lambda d: json.dumps({**GOOD, "outcome": {**GOOD["outcome"], **d}})
        ),
    )
)
def test_any_line_is_shown_somehow(text):
    console = Console(file=io.StringIO(), highlight=False, markup=False)
    line = read_line(text)
    show_line(console, line)
    for visit in collect([line], Filter()):
        show_visit(console, visit)


def shown(capsys, tmp_path, lines, *options):
    file = tmp_path / "log"
    file.write_text("".join(f"{line}\n" for line in lines))
    status = run("logs", *options, str(file))
    return status, capsys.readouterr().out


def test_a_visit_is_shown_with_the_tree_of_its_times(capsys, tmp_path):
    status, text = shown(capsys, tmp_path, [json.dumps(GOOD)])
    lines = [line.split() for line in text.splitlines()]
    assert status == 0
    assert "LSSTCam g1 detector 94 processed" in text
    assert any(line[1:4] == ["preload", "1.500", "s"] or "preload" in line for line in lines)
    # Tasks hang below the stage that runs them.
    depth = {
        name: next(row.index(name) for row in text.splitlines() if name in row)
        for name in ("pipeline ", "isr ")
    }
    assert depth["isr "] > depth["pipeline "]
    assert "14.500 s from the image's arrival to the last alert" in text
    assert "1 visit(s): 1 processed" in text
    assert "\x1b" not in text


def test_only_failures(capsys, tmp_path):
    status, text = shown(capsys, tmp_path, [json.dumps(GOOD), failed(detector=5)], "--failures")
    assert status == 1
    assert "detector 5 failed" in text
    assert "a retry is unsafe" in text
    assert "detector 94" not in text
    assert "2 visit(s): 1 failed, 1 processed" in text


def test_a_visit_without_an_end_counts_as_a_failure(capsys, tmp_path):
    line = json.dumps({**GOOD, "outcome": None, "level": "WARNING", "message": "it takes long"})
    status, text = shown(capsys, tmp_path, [line], "--failures")
    assert status == 1
    assert "unfinished" in text
    assert "WARNING it takes long" in text


def test_filters_by_detector_group_and_level(capsys, tmp_path):
    lines = [
        json.dumps({**GOOD, "outcome": None, "level": "DEBUG", "message": "detail"}),
        json.dumps({**GOOD, "outcome": None, "level": "ERROR", "message": "trouble"}),
        json.dumps(GOOD),
        failed(detector=5),
        failed(group="g2", detector=94),
    ]
    _, text = shown(
        capsys, tmp_path, lines, "--detector", "94", "--group", "g1", "--lines", "--level", "warning"
    )
    assert "trouble" in text
    assert "detail" not in text
    assert "1 visit(s): 1 processed" in text


def test_lines_of_two_workers_may_be_mixed():
    collector = VisitCollector()
    ends = [
        collector.add(read_line(json.dumps({**GOOD, "process": process, "outcome": outcome})))
        for process, outcome in [(1, None), (2, None), (2, GOOD["outcome"]), (1, GOOD["outcome"])]
    ]
    assert [None if end is None else len(end.lines) for end in ends] == [None, None, 2, 2]


def test_a_file_that_is_not_there_is_told(capsys, tmp_path):
    assert run("logs", str(tmp_path / "absent")) == 2
    assert "absent" in capsys.readouterr().err


def test_colours_are_for_terminals_only(capsys, tmp_path):
    _, text = shown(capsys, tmp_path, [json.dumps(GOOD)], "--color", "always")
    assert "\x1b[" in text
