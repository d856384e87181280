"""What a worker costs before its first visit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

_PROGRAM = """
import gc, json, os, sys
# As the command of a worker does.
gc.disable()
def used():
    spent = os.times()
    return spent.user + spent.system
begin = used()
import prompt_processing.activator.stream_worker
imported = used()
from prompt_processing.activator.factory import ProcessContext
from prompt_processing.settings.worker import Settings
context = ProcessContext(Settings.load(**json.loads(sys.argv[1])))
context.repositories()
ready = used()
print(json.dumps([begin, imported, ready]))
context.close()
"""


def cold_start(settings: dict[str, Any]) -> tuple[float, float]:
    """Start a process as a worker does, until its repositories are open.

    Parameters
    ----------
    settings
        Settings of the worker, by the names of its class.

    Returns
    -------
    imported, ready
        CPU seconds of all threads since the process began: when the modules were imported, and when the first
        visit would be accepted.
    """
    command = [sys.executable, "-c", _PROGRAM, json.dumps(settings)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ))
    _, imported, ready = json.loads(done.stdout.splitlines()[-1])
    return imported, ready
