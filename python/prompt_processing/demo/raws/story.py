"""From the raw frames of a camera without description to alerts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prompt_processing.demo.progress import Progress
from prompt_processing.simulation.observatory import Observatory, simulate_observatory

from .commands import CommandLine, Ran, enter_solved, run_command

__all__ = ["NAME", "Way", "go_the_way"]

NAME = "Kestrel"
"""Name that the camera gets."""

_REPO = ("--repo", "repo", "--instrument", NAME)


@dataclass(frozen=True, slots=True)
class Way:
    """What the commands have made.

    Attributes
    ----------
    root
        Folder in which they ran.
    observatory
        The files that the camera wrote, and their truth.
    ran
        The commands in order.
    """

    root: Path
    observatory: Observatory
    ran: Sequence[Ran]

    @property
    def repo(self) -> str:
        """The repository."""
        return str(self.root / "repo")


def go_the_way(
    root: Path,
    like: str,
    progress: Progress,
    *,
    seed: int = 1,
    miniature: tuple[int, int] | None = None,
    n_tonight: int = 2,
) -> Way:
    """Simulate an observatory, describe its camera, calibrate it and process a night.

    Parameters
    ----------
    root
        Folder of all files.
    like
        Instrument with the optics and electronics of the camera.
    progress
        Shows the commands and what they print.
    seed, miniature, n_tonight
        See `~prompt_processing.simulation.observatory.simulate_observatory`.

    Raises
    ------
    ProcessFailedError
        Raised if a command fails.
    """
    with progress.step("Simulating the frames that an unknown camera writes"):
        observatory = simulate_observatory(
            root / "observatory", like, seed=seed, miniature=miniature, n_tonight=n_tonight
        )
    logs = root / "logs"
    logs.mkdir(exist_ok=True)
    ran: list[Ran] = []

    def run(*words: str, fails_with: tuple[int, ...] = ()) -> str:
        ran.append(run_command(CommandLine(words, fails_with), root, logs, progress))
        return ran[-1].output

    camera = f"cameras/{NAME}"
    last_flats = sorted(path.name for path in observatory.frames("Flat"))[-2:]
    run(
        *("instrument", "new", camera, "--from"),
        *("observatory/calibration/Bias_00[12]*.fits", "observatory/calibration/Dark_01[12]*.fits"),
        *(f"observatory/calibration/{name}" for name in last_flats),
        "observatory/earlier/*_00[12].fits",
    )
    light = "observatory/earlier/*_001.fits"
    check = run("instrument", "check", camera, light, "--catalogue", "observatory/stars.csv")
    changes = enter_solved(check, root / camera / "instrument.yaml")
    progress.report(f"Entered into {camera}/instrument.yaml: {'; '.join(changes) or 'nothing'}")
    run("repo", "make", "--instrument", NAME, "repo")
    run("repo", "import-raws", "repo", "observatory/calibration")
    run("calibrations", "build", *_REPO, "--name", "first", "--page", "calibrations.html")
    run("refcat", "import", "observatory/stars.csv", "--repo", "repo", "--name", "stars")
    # Without templates, images are only calibrated.
    run("watch", "observatory/earlier", "--once", *_REPO, "--work", "earlier", fails_with=(5,))
    run("templates", "build", *_REPO, "--new-skymap", "fields", "--name", "first", "--page", "templates.html")
    run("watch", "observatory/tonight", "--once", *_REPO, "--work", "night", fails_with=(5,))
    return Way(root, observatory, ran)
