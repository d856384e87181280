"""Wall-clock seconds of ``prompt-difference`` with several cores, in a separate process.

    python -P benchmarks/chain/wall.py SCIENCE.fits TEMPLATE.fits --cores 2 --repeats 3

``ap_chain.py`` is bound to one core, and its libraries already have their threads.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class WallTimes:
    """The times of the best of several runs.

    Attributes
    ----------
    cores, repeats : `int`
        Available cores, and runs after the first, which does not count.
    subtraction, everything : `float`
        Wall-clock seconds, each from its best run.
    """

    cores: int
    repeats: int
    subtraction: float
    everything: float


def measure_wall(science: Path, template: Path, cores: int, repeats: int) -> WallTimes:
    """Run our chain on two files with several cores, ``repeats`` times.

    Raises
    ------
    subprocess.CalledProcessError
        Raised if the process failed.
    """
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), str(cores))
    command = [sys.executable, "-P", __file__, str(science), str(template), "--cores", str(cores)]
    done = subprocess.run(
        [*command, "--repeats", str(repeats)],
        env={**os.environ, **threads}, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return WallTimes(**json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("science", type=Path)
    parser.add_argument("template", type=Path)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    # More cores than available are not an error: the kernel uses those that exist.
    os.sched_setaffinity(0, range(options.cores))
    # Libraries count the cores on import.
    from prompt_processing.difference import difference_images

    runs = []
    for _ in range(options.repeats + 1):
        start = time.perf_counter()
        summary = difference_images(options.science, options.template).summary
        runs.append((float(summary["subtractionSeconds"]), time.perf_counter() - start))
    subtraction, everything = (min(run[i] for run in runs[1:]) for i in (0, 1))
    print(json.dumps({
        "cores": len(os.sched_getaffinity(0)), "repeats": options.repeats,
        "subtraction": subtraction, "everything": everything,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
