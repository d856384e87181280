"""A visit of a small detector that fills the cache of compiled functions.

Numba compiles a function when it is first called and caches the result beside the source. In a fresh copy of
the project that takes about a minute, which would delay the first real visit.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from .processes import Processes, ProcessFailedError
from .progress import Progress
from .results import count_datasets
from .story import DemoOptions, NightFailedError, check_night, make_surroundings, make_world, take_night
from .surroundings import Folders

__all__ = ["main"]

_OPTIONS = DemoOptions(
    instrument="LSSTCam",
    # One worker: two would compile the same functions at the same time.
    detectors=(94,),
    n_visits=1,
    miniature=(127, 500),
    slew=0.0,
    exposure=1.0,
)


def main() -> int:
    """Run the rehearsal; return the exit status."""
    with tempfile.TemporaryDirectory(prefix="prompt-rehearsal-") as name, open(os.devnull, "w") as nowhere:
        folders = Folders(Path(name), Path(name) / "work" / "night")
        progress = Progress(Console(file=nowhere))
        try:
            with make_surroundings(_OPTIONS, folders) as services, Processes(folders.logs, {}) as processes:
                world = make_world(_OPTIONS, folders, services, processes, progress)
                result, query = take_night(_OPTIONS, world, processes, progress)
                count_datasets(world, query)
                check_night(_OPTIONS, result)
        except (NightFailedError, ProcessFailedError) as error:
            print(f"The rehearsal failed: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
