"""``bin/simulate-night``: raws, calibrations, templates and reference stars to try things out with."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from prompt_processing.instruments.camera import camera_names, load_camera
from prompt_processing.simulation.night import build_night

_SMALL = (64, 256)
"""Columns and rows of an amplifier: enough for a reference star or two."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate a night; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="simulate-night",
        description="Simulate a night: raws as a pool for the tester, and what a central repository needs to "
        "process them (calibrations, templates, reference stars).",
    )
    parser.add_argument("folder", type=Path, help="where to; a new folder")
    parser.add_argument("--instrument", choices=camera_names(), default="LSSTCam", help="(%(default)s)")
    parser.add_argument("--detectors", default="", help="ids such as 90,94; one at the centre by default")
    parser.add_argument("--visits", type=int, default=1, help="visits of one field (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="the same one gives the same night")
    parser.add_argument(
        "--small", action="store_true", help="small detectors and no templates: seconds instead of minutes"
    )
    options = parser.parse_args(arguments)
    if options.folder.exists() and any(options.folder.iterdir()):
        parser.error(f"{options.folder} is not empty")
    camera = load_camera(options.instrument)
    central = min(camera.detectors.values(), key=lambda one: one.x_mm**2 + one.y_mm**2)
    try:
        detectors = [int(word) for word in options.detectors.split(",") if word] or [central.id]
        night = build_night(
            options.folder,
            options.instrument,
            detectors,
            options.visits,
            options.seed,
            workers=os.cpu_count() or 1,
            miniature=_SMALL if options.small else None,
            n_template=0 if options.small else 4,
        )
    except (LookupError, ValueError) as error:
        parser.error(str(error))
    sys.stdout.write(f"{len(night.raws)} raws of {options.instrument} are in {night.pool}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
