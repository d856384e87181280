"""Image subtraction by packages from PyPI, in separate environments."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SUBTRACTORS = ("sfft", "ois", "properimage", "stdpipe")
WORKER = Path(__file__).with_name("subtract_worker.py")

_UNAVAILABLE: dict[str, str] = {}
"""Peers that this run could not install, and why."""


@dataclass(frozen=True, slots=True, eq=False)
class PeerSubtraction:
    """A peer's difference.

    Attributes
    ----------
    seconds, cpu_seconds : `float`
        Time of the call alone: no imports or files, and compiled code is loaded.
    difference : `~numpy.ndarray` or `None`
        `None` if it failed or was aborted.
    remark : `str`
        Reason of a failure, or the options of the call.
    """

    seconds: float
    cpu_seconds: float
    difference: np.ndarray | None
    remark: str


class PeerUnavailableError(Exception):
    """A peer cannot be installed; the message says why."""


def peers_python(name: str) -> Path:
    """Return the Python of an environment with a peer, created by the first call and kept (a minute).

    Raises
    ------
    PeerUnavailableError
        Raised if it cannot be installed. Another attempt is made by the next run only.
    """
    if name in _UNAVAILABLE:
        raise PeerUnavailableError(_UNAVAILABLE[name])
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    # One for each: stdpipe bundles its own sep, which would overwrite properimage's.
    folder = Path(base) / "prompt-processing" / "peers" / name
    python = folder / "bin" / "python"
    done = folder / "complete"
    if done.exists():
        return python
    print(f"Making an environment for {name} in {folder} ...", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    steps = [[name]]
    if name == "ois":
        # The setup of ois 0.2 imports numpy without declaring it.
        steps = [["numpy", "setuptools", "wheel", "cython"], ["--no-build-isolation", "ois"]]
    for packages in steps:
        made = subprocess.run([*install, *packages], capture_output=True, text=True, check=False)
        if made.returncode:
            lines = [line.strip() for line in made.stderr.splitlines()]
            errors = [line for line in lines if "rror" in line and not line.startswith(("note:", "hint:"))]
            _UNAVAILABLE[name] = f"cannot be installed: {(errors or ['pip failed'])[-1][:160]}"
            raise PeerUnavailableError(_UNAVAILABLE[name])
    done.write_text(subprocess.run([python, "-m", "pip", "freeze"], capture_output=True, text=True).stdout)
    return python


def subtract_with(
    name: str,
    science: np.ndarray,
    template: np.ndarray,
    bad: np.ndarray,
    fwhms: tuple[float, float],
    folder: Path,
    seconds: float,
) -> PeerSubtraction:
    """Subtract with one of `SUBTRACTORS`.

    Parameters
    ----------
    name : `str`
        Name of the package.
    science, template : `~numpy.ndarray`
        Sky-subtracted images on one grid.
    bad : `~numpy.ndarray` of bool
        Pixels that are unusable in either image.
    fwhms : `tuple` of `float`
        Seeing of the two images, pixels.
    folder : `~pathlib.Path`
        Folder for files.
    seconds : `float`
        CPU seconds after which the subtraction is aborted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "pair.npz", science=science, template=template, bad=bad, fwhms=fwhms)
    out = folder / f"{name}.npz"
    out.unlink(missing_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "PYTHONPATH": ""}
    gave_up = f"gave up after {seconds:.0f} s"
    try:
        python = peers_python(name)
    except PeerUnavailableError as error:
        return PeerSubtraction(float("nan"), float("nan"), None, str(error))
    start = time.perf_counter()
    try:
        done = subprocess.run(
            # -P: no module of this folder may stand in for one of theirs.
            [python, "-P", WORKER, name, folder / "pair.npz", out, str(seconds)], cwd=folder,
            # Allows for compilation and a busy machine.
            env=environment, capture_output=True, text=True, timeout=4 * seconds + 300, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return PeerSubtraction(time.perf_counter() - start, float("nan"), None, gave_up)
    if done.returncode == -signal.SIGPROF:
        return PeerSubtraction(time.perf_counter() - start, seconds, None, gave_up)
    if done.returncode < 0:
        ended = f"failed: ended by {signal.Signals(-done.returncode).name}"
        return PeerSubtraction(time.perf_counter() - start, float("nan"), None, ended)
    if done.returncode != 0 or not out.exists():
        last = "failed: " + (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        return PeerSubtraction(time.perf_counter() - start, float("nan"), None, last[:160])
    with np.load(out) as results:
        numbers = json.loads(str(results["numbers"]))
        return PeerSubtraction(
            numbers["seconds"], numbers["cpu_seconds"], results["difference"], numbers["remark"]
        )
