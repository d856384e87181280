"""The demo's way from raw frames: what the check solved is entered, and options belong to a story."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy.io import fits
from rich.console import Console

from prompt_processing.cli.main import run
from prompt_processing.demo.progress import Progress
from prompt_processing.demo.raws.commands import CommandLine, enter_solved, run_command
from prompt_processing.simulation.observatory import CAMERA_NAME, simulate_observatory

CHECK = """field7_001.fits:
  pointing   320.59619 -17.90116, rotation 0.00
  look at    the parity is the other one: parity_flipped_x: true
  look at    the plate scale is 114.4100: plate_scale_arcsec_per_mm: 114.4100
  look at    the rotation is 1.51 degrees, not 0.00: header.rotation: constant: 1.51
"""


def test_solved_values_replace_the_guesses(tmp_path: Path) -> None:
    path = tmp_path / "instrument.yaml"
    path.write_text(
        "to_confirm:\n  parity_flipped_x: solve it\nplate_scale_arcsec_per_mm: 114.59  # to confirm\n"
        "parity_flipped_x: false  # to confirm\nheader:\n  rotation: {constant: 0.0}  # to confirm\n"
    )
    changes = enter_solved(CHECK, path)
    document = yaml.safe_load(path.read_text())
    assert document["parity_flipped_x"] is True
    assert document["plate_scale_arcsec_per_mm"] == pytest.approx(114.41)
    assert document["header"]["rotation"] == {"constant": 1.51}
    assert document["to_confirm"] == {"parity_flipped_x": "solve it"}
    assert len(changes) == 3


def test_interrupted_command_ends_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = tmp_path / "numbers"
    program = tmp_path / "program"
    program.write_text(
        f"#!/bin/sh\nsleep 600 &\necho $$ $! > {numbers}.new\nmv {numbers}.new {numbers}\nwait\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))

    def interrupt() -> None:
        while not numbers.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    # A shell's background jobs ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Thread(target=interrupt, daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            run_command(CommandLine(("watch",)), tmp_path, tmp_path, Progress(Console(file=StringIO())))
    finally:
        signal.signal(signal.SIGINT, before)
    for number in numbers.read_text().split():
        # A killed child remains until its parent, or init, has read its status.
        while Path(f"/proc/{number}").exists() and Path(f"/proc/{number}/stat").read_text().split()[2] != "Z":
            time.sleep(0.01)


def test_command_is_shown_as_typed_and_run_with_the_files(tmp_path: Path) -> None:
    for name in ("b_002.fits", "b_001.fits", "c_001.fits"):
        (tmp_path / name).touch()
    command = CommandLine(("instrument", "new", "my camera", "--from", "b_*.fits"))
    assert str(command) == "prompt instrument new 'my camera' --from b_*.fits"
    assert command.arguments(tmp_path)[-2:] == ["b_001.fits", "b_002.fits"]


@pytest.mark.parametrize("option", [["--services"], ["--night", "somewhere"], ["--detectors", "0"]])
def test_options_of_a_night_are_refused_for_the_story_of_raws(
    option: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    output = ["--output", str(tmp_path / "output")]
    assert run("demo", "--camera", "small", *output, *option) == 2
    assert f"{option[0]} needs --story night" in capsys.readouterr().err
    assert not (tmp_path / "output").exists()


def test_frames_are_of_16_bits_without_hints(tmp_path: Path) -> None:
    observatory = simulate_observatory(
        tmp_path / "observatory", "small", miniature=(96, 80), n_earlier=1, n_tonight=1
    )
    (raw,) = observatory.tonight.iterdir()
    with fits.open(raw) as hdus:
        assert len(hdus) == 1
        assert hdus[0].data.dtype == np.uint16
        header = hdus[0].header
        assert header["BZERO"] == 32768
        assert header["INSTRUME"] == CAMERA_NAME
        assert not [key for key in header if key.startswith(("PP", "CRVAL", "CD1", "ROT"))]
    assert len(observatory.frames("Bias")) >= 3
    assert {"gain", "read_noise", "bias", "response", "good"} == set(observatory.detector)
    changed = np.abs(np.asarray(observatory.truth(raw)["snr"])) > 0
    (before,) = observatory.earlier.iterdir()
    assert changed.any()
    # Nothing has changed on the images of the template.
    assert not np.any(np.abs(np.asarray(observatory.truth(before)["snr"])) > 0)


def test_only_a_camera_of_one_amplifier_can_write_such_frames(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="DECam is not a camera of one detector"):
        simulate_observatory(tmp_path / "observatory", "DECam")
