"""What a worker costs before its first visit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

_PROGRAM = """
import json, os, sys, time
from prompt_processing.cli.night.worker import prepare_process
def used():
    spent = os.times()
    return spent.user + spent.system
# As the command of a worker does.
prepare_process()
import prompt_processing.activator.stream_worker
imported = used()
from prompt_processing.activator.factory import ProcessContext
from prompt_processing.settings.worker import Settings
context = ProcessContext(Settings.load(**json.loads(sys.argv[1])))
context.warm()
print(json.dumps([imported, used(), time.time()]), flush=True)
context.close()
"""


@dataclass(frozen=True, slots=True)
class ColdStart:
    """Seconds from the start of the process.

    Attributes
    ----------
    imported, ready
        CPU seconds of all threads when the modules were imported, and when the first visit would be accepted:
        APDB checked, repositories open, Kafka has answered.
    wall
        Wall clock until the latter.
    """

    imported: float
    ready: float
    wall: float


def cold_start(settings: dict[str, Any], *, repeats: int = 3) -> ColdStart:
    """Start a process as a worker does, until it is ready for visits; return the median of several starts.

    Parameters
    ----------
    settings
        Settings of the worker, by the names of its class. Kafka must be there.
    repeats
        Number of starts.
    """
    starts = sorted((_start(settings) for _ in range(repeats)), key=lambda one: one.wall)
    return starts[len(starts) // 2]


def _start(settings: dict[str, Any]) -> ColdStart:
    command = [sys.executable, "-c", _PROGRAM, json.dumps(settings)]
    begin = time.time()
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ))
    imported, ready, end = json.loads(done.stdout.splitlines()[-1])
    return ColdStart(imported, ready, end - begin)
