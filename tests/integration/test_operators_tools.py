"""The operators' tools, on what a real run leaves behind."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
from butler_fixtures import Worker

from prompt_processing.cli.main import run

pytestmark = pytest.mark.integration

WORKER = '''
"""The real story of visits, in a workspace that only pretends."""
import contextlib, sys, time
from prompt_processing.activator.services.process_visit import ProcessVisit
from prompt_processing.activator.services.visit_rules import VisitRules
from prompt_processing.activator.storage.image_bucket import ArrivedImage
from prompt_processing.domain.clock import utc_to_tai
from prompt_processing.domain.selection import PipelineSelection, SelectionNode
from prompt_processing.domain.visit import FannedOutVisit
from prompt_processing.instruments.camera import load_camera
from prompt_processing.telemetry.logs import LogContext, configure_logging
from prompt_processing.telemetry.metrics import Metrics
from lsst.resources import ResourcePath


class Run:
    pipeline, metadata, seconds = "ApPipe", {}, {"isr": 1.25, "calibrateImage": 2.5}


class Workspace:
    runs = {}
    def preload(self): time.sleep(0.05)
    def run_preprocessing(self): pass
    def ingest(self, images): return (2025060900578,)
    def run_pipeline(self):
        if self.visit.detector == 5:
            raise ArithmeticError("the sum is not a number")
        return Run()
    def export(self, *ignored): return 3
    def clean(self): pass
    def __init__(self, visit, pipelines): self.visit = visit


class Snaps:
    def subscribe(self): pass
    def unsubscribe(self): pass
    def collect(self, visit):
        return (ArrivedImage(ResourcePath("s3://raws/a.fits"), 2025060900578, time.time()),)


class Interruption:
    watch = held = finishing = staticmethod(contextlib.nullcontext)
    def check(self): pass


context = LogContext("LSSTCam")
configure_logging(context, {"timer.lsst.activator": "DEBUG"})
anything = PipelineSelection((SelectionNode(("ApPipe.yaml",)),))
service = ProcessVisit(
    VisitRules(load_camera("LSSTCam"), anything, anything, 3600.0), Workspace, Snaps(),
    lambda exposures, detector: False, Interruption(), Metrics("LSSTCam"), context,
)
print("a line of somebody else", file=sys.stderr)
for detector in (94, 5):
    service.process(FannedOutVisit.parse({
        "salIndex": 2, "groupId": "group-1", "coordinateSystem": 2, "position": [155.5, -4.25],
        "rotationSystem": 2, "cameraAngle": 1.0, "duration": 1.0, "nimages": 1, "instrument": "LSSTCam",
        "survey": "wide", "private_sndStamp": utc_to_tai(time.time()), "detector": detector,
    }))
'''


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    run = subprocess.run(
        [sys.executable, "-c", WORKER], capture_output=True, text=True, check=True, timeout=120
    )
    path = tmp_path_factory.mktemp("log") / "worker.log"
    path.write_text(run.stderr)
    return path


def test_the_log_of_a_run_is_shown_by_visit(log, capsys):
    assert run("logs", str(log)) == 1
    text = capsys.readouterr().out
    assert "LSSTCam group-1 detector 94 processed" in text
    assert "ApPipe ran on 1 of 1 snap(s), 3 dataset(s) handed over." in text
    assert (
        text.index("preload ") < text.index("pipeline ") < text.index("isr ") < text.index("calibrateImage ")
    )
    assert "LSSTCam group-1 detector 5 failed" in text
    assert "the sum is not a number" in text
    assert "Traceback" in text
    assert "2 visit(s): 1 failed, 1 processed" in text


def test_all_lines_are_shown_if_wanted_those_of_others_too(log, capsys):
    run("logs", "--lines", str(log))
    text = capsys.readouterr().out
    assert "| a line of somebody else" in text
    assert "DEBUG    group-1/94 preload took" in text


def test_a_log_is_followed_as_it_is_written(log, tmp_path):
    lines = log.read_text().splitlines(keepends=True)
    growing = tmp_path / "growing.log"
    growing.write_text("")
    command = [sys.executable, "-u", "-m", "prompt_processing", "logs", "-f", str(growing)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        with growing.open("a") as file:
            for line in lines:
                # In two parts, as a reader may see it.
                file.write(line[:20])
                file.flush()
                time.sleep(0.01)
                file.write(line[20:])
                file.flush()
        seen = ""
        while "detector 5 failed" not in seen:
            part = process.stdout.readline()
            assert part, seen
            seen += part
        assert "detector 94 processed" in seen
        assert process.poll() is None
    finally:
        process.kill()
        process.wait(10)


def test_standard_input_is_read_until_its_end(log):
    command = [sys.executable, "-m", "prompt_processing", "logs", "-f", "--detector", "94"]
    prefixed = "".join(f"[pod/worker-0/activator] {line}\n" for line in log.read_text().splitlines())
    run = subprocess.run(command, input=prefixed, capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 0, run.stderr
    assert "1 visit(s): 1 processed" in run.stdout


def test_a_local_repository_is_looked_into_while_its_worker_lives(butler_worker: Worker, capsys, monkeypatch):
    workspace = butler_worker.begin()
    workspace.preload()
    folder = butler_worker.repositories.local.folder
    for name in ("RUBIN_INSTRUMENT", "CENTRAL_REPO"):
        monkeypatch.delenv(name, raising=False)
    assert run("inspect", "--repository", "--json", "--local-repos", str(folder.parent)) == 0
    (repository,) = json.loads(capsys.readouterr().out)["repositories"]
    assert repository["path"] == str(folder)
    by_name = {one["name"]: one for one in repository["types"]}
    assert by_name["camera"]["datasets"] == 1
    assert by_name["bias"]["files"] == by_name["bias"]["datasets"] == 1
    assert by_name["bias"]["size"] > 0
    assert sum(one["size"] for one in repository["types"]) <= repository["size"]
    run("inspect", "--repository", "--local-repos", str(folder.parent))
    text = capsys.readouterr().out
    assert "bias" in text
    # A long path breaks the title into lines.
    assert "universedaf_butler" in "".join(text.split())


def test_versions_and_unusable_settings_are_told(capsys, monkeypatch):
    monkeypatch.delenv("RUBIN_INSTRUMENT", raising=False)
    assert run("inspect", "--versions", "--settings") == 1
    text = capsys.readouterr().out
    assert "lsst-daf-butler" in text
    assert "RUBIN_INSTRUMENT: not set" in text
