"""Measure the latency of `prompt watch` and of a worker on the same images, one after the other."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from prompt_processing.butler.pipelines.files import pipelines_folder
from prompt_processing.butler.types import use_butler_types
from prompt_processing.repository.central import make_central_repository
from prompt_processing.repository.content import simulated_content
from prompt_processing.simulation.night import Night, build_night

INSTRUMENT = "small"
_WARM_UP = 2
"""Images that are not counted: the first ones of a process import and compile."""
_NOTICE_SECONDS = 20.0
"""How long before an image the worker hears of it, at most: as long as its preload takes, if that is less."""


@dataclass(frozen=True, slots=True)
class Took:
    """What one image took in one process.

    Attributes
    ----------
    alerts
        From the closed file to the last alert, seconds.
    preload
        The part of it, or before it, that a worker may do before the image is there, seconds.
    begin
        From the closed file to the begin of the attempt, seconds; 0 for a worker that waits for it.
    cpu
        Of all that the process did for the image, seconds.
    rss
        Memory of the process afterwards, MB.
    """

    alerts: float
    preload: float
    begin: float
    cpu: float
    rss: float


def measure_pairs(folder: Path, images: int, kept: Path | None = None) -> None:
    """Process each image by both, in turn, and print medians and ratios.

    Parameters
    ----------
    folder
        Empty folder.
    images
        Number of images, without those that warm the processes up.
    kept
        Folder of the simulated images; made if missing.
    """
    use_butler_types()
    if kept is not None and (kept / "night.json").exists():
        night = Night.load(kept)
    else:
        night = build_night(kept or folder / "night", INSTRUMENT, [0], images + _WARM_UP)
    for name in ("watch", "worker"):
        (folder / name / "incoming").mkdir(parents=True)
        paths = [str(pipelines_folder(INSTRUMENT) / f"{stem}.yaml") for stem in ("Preprocessing", "ApPipe")]
        make_central_repository(
            str(folder / name / "central"), night.camera, simulated_content(night), pipelines=paths
        )
    with _watching(folder / "watch") as watch, _working(folder / "worker", night) as worker:
        pairs = []
        for number, raw in enumerate(night.raws[: images + _WARM_UP]):
            # Each comes first for half of the images.
            order: Sequence[Callable[[Path], Took]] = (watch, worker) if number % 2 else (worker, watch)
            took = {measure: measure(raw) for measure in order}
            pairs.append((took[watch], took[worker]))
            print(
                f"{raw.name}: watch {took[watch].alerts:.2f} s, worker {took[worker].alerts:.2f} s",
                flush=True,
            )
    _report(pairs[_WARM_UP:])


def _report(pairs: Sequence[tuple[Took, Took]]) -> None:
    def median(of: Callable[[Took, Took], float]) -> float:
        return float(np.median([of(watch, worker) for watch, worker in pairs]))

    print(f"closed file to alerts, median of {len(pairs)} images, load average {os.getloadavg()[0]:.1f}:")
    parts = (
        f"begins after {median(lambda a, b: a.begin):.2f} s, preload {median(lambda a, b: a.preload):.2f} s"
    )
    print(f"  prompt watch          {median(lambda a, b: a.alerts):.2f} s; {parts}")
    print(f"  worker                {median(lambda a, b: b.alerts + b.preload):.2f} s, with its preload")
    print(f"  worker                {median(lambda a, b: b.alerts):.2f} s, announced before the exposure")
    print(
        f"  ratio                 {median(lambda a, b: a.alerts / (b.alerts + b.preload)):.2f}, with preload"
    )
    print(f"  ratio                 {median(lambda a, b: a.alerts / b.alerts):.2f}, announced before")
    cpu = median(lambda a, b: a.cpu), median(lambda a, b: b.cpu)
    print(f"CPU of an image: {cpu[0]:.2f} s and {cpu[1]:.2f} s, ratio {cpu[0] / cpu[1]:.2f}")
    print(f"memory after the last image: {pairs[-1][0].rss:.0f} MB and {pairs[-1][1].rss:.0f} MB")


@contextmanager
def _watching(folder: Path) -> Iterator[Callable[[Path], Took]]:
    """Run `prompt watch`; yield what makes a raw appear in its folder, and waits for its outcome."""
    command = [sys.executable, "-m", "prompt_processing", "watch", str(folder / "incoming")]
    command += ["--repo", str(folder / "central"), "--instrument", INSTRUMENT, "--work", str(folder / "work")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=_environment(), stdout=log, stderr=log)
    known = psutil.Process(process.pid)
    done = 0

    def measure(raw: Path) -> Took:
        nonlocal done
        before = _cpu(known)
        closed = _appear(raw, folder / "incoming" / raw.name)
        done += 1
        outcome = _outcome(folder / "work" / "outcomes", done, process)
        _wait_until_idle(known)
        preload, begin = outcome["stages"]["preload"], outcome["began"] - closed
        return Took(outcome["last_alert"] - closed, preload, begin, _cpu(known) - before, _rss(known))

    try:
        yield measure
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def _working(folder: Path, night: Night) -> Iterator[Callable[[Path], Took]]:
    """Run a worker; yield what announces a raw, lets it appear after the preload, and waits for it."""
    command = [sys.executable, "-m", "watching.worker", str(folder), INSTRUMENT, night.sky_map.name]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    known = psutil.Process(process.pid)

    def answer() -> str:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError((folder / "log").read_text()[-3000:])
        return line

    assert answer().strip() == "ready"

    def measure(raw: Path) -> Took:
        assert process.stdin is not None
        before = _cpu(known)
        arriving = folder / "incoming" / raw.name
        process.stdin.write(json.dumps([str(raw), str(arriving)]) + "\n")
        process.stdin.flush()
        # The preload has ended once the worker only waits.
        time.sleep(0.5)
        _wait_until_idle(known, _NOTICE_SECONDS)
        closed = _appear(raw, arriving)
        outcome = json.loads(answer())
        if outcome["last_alert"] is None:
            raise RuntimeError(outcome["reason"])
        _wait_until_idle(known)
        preload = outcome["stages"]["preload"]
        return Took(outcome["last_alert"] - closed, preload, 0.0, _cpu(known) - before, _rss(known))

    try:
        yield measure
    finally:
        process.stdin.close()
        process.wait(60)


def _environment() -> dict[str, str]:
    here = str(Path(__file__).parents[1])
    return {**os.environ, "PYTHONPATH": here, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def _appear(raw: Path, path: Path) -> float:
    """Make a file appear complete; return when it was closed."""
    partial = shutil.copyfile(raw, path.with_name(f".{path.name}"))
    partial.rename(path)
    return path.stat().st_mtime


def _outcome(folder: Path, number: int, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """Return the outcome of an image, counted from 1."""
    while process.poll() is None:
        lines = [line for path in folder.rglob("*.jsonl") for line in path.read_text().splitlines()]
        events = [json.loads(line) for line in lines if line.endswith("}")]
        ended = [event for event in events if event["event"] == "ended"]
        if len(ended) >= number:
            last: dict[str, Any] = ended[number - 1]
            if last["last_alert"] is None:
                raise RuntimeError(last["reason"])
            return last
        time.sleep(0.05)
    raise RuntimeError((folder.parents[1] / "log").read_text()[-3000:])


def _wait_until_idle(process: psutil.Process, seconds: float = 60.0) -> None:
    end, before = time.monotonic() + seconds, _cpu(process)
    while time.monotonic() < end:
        time.sleep(0.4)
        now = _cpu(process)
        if now - before < 0.03:
            return
        before = now


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _rss(process: psutil.Process) -> float:
    return float(process.memory_info().rss / 1e6)
