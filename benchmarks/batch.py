"""Measure what `prompt run` adds to the time of the tasks themselves, beside plain Dask in the same run.

python benchmarks/batch.py             200 quanta of 0.2 s on two processes, and as many plain Dask futures
python benchmarks/batch.py --growth 2000 20000    graphs of so many quanta: build, run and transfer

The tasks do nothing but sleep, so that everything else is overhead. Unlike the wall clock, the
processor seconds of the workers do not depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

SUPPORT = Path(__file__).parents[1] / "tests" / "support"
sys.path.insert(0, str(SUPPORT))
os.environ["PYTHONPATH"] = os.pathsep.join([str(SUPPORT), os.environ.get("PYTHONPATH", "")])

import batch_pipeline  # noqa: E402
import psutil  # noqa: E402

from prompt_processing.batch import run as batch  # noqa: E402
from prompt_processing.batch.request import RunRequest  # noqa: E402

PIPELINE = "description: One task\ntasks:\n  double:\n    class: batch_pipeline.DoubleTask\n"


def request(folder: Path, quanta: int, seconds: float) -> RunRequest:
    """Make a repository for a number of quanta, and the request that executes them."""
    os.environ[batch_pipeline.JOURNAL] = str(folder / "journal")
    detectors = 10
    repo = batch_pipeline.make_repository(folder, quanta // detectors, detectors)
    pipeline = folder / "pipeline.yaml"
    pipeline.write_text(PIPELINE)
    return RunRequest(str(repo), str(pipeline), ("in",), "u/bench", config=(f"double:seconds={seconds}",))


def processor_seconds() -> float:
    """Return the processor seconds of all processes that this one has started and that live."""
    total = 0.0
    for child in psutil.Process().children(recursive=True):
        times = child.cpu_times()
        total += times.user + times.system
    return total


def plain_dask(quanta: int, seconds: float, processes: int) -> tuple[float, float]:
    """Return wall clock and processor seconds of sleeping futures on a Dask cluster that is warm."""
    from prompt_processing.batch.execution import connect

    with connect("", processes) as client:
        client.gather(client.map(time.sleep, [0.0] * processes, pure=False))
        used, began = processor_seconds(), time.monotonic()
        client.gather(client.map(time.sleep, [seconds] * quanta, pure=False))
        return time.monotonic() - began, processor_seconds() - used


def ours(quanta: int, seconds: float, processes: int) -> dict[str, float]:
    """Return the seconds of the stages of one run: build, first outcome, execution, transfer."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        chosen = request(folder, quanta, seconds)
        times = {"begin": time.monotonic()}
        # The first quantum of each process imports the middleware, which takes one longer than the other.
        warm = quanta // 10 + processes
        finished: list[float] = []
        used: list[float] = []

        def finish() -> None:
            finished.append(time.monotonic())
            used.append(processor_seconds() if len(finished) in (warm, quanta) else 0.0)

        result = batch.run(
            chosen,
            folder / "work",
            processes=processes,
            on_plan=lambda run, plan: times.update(plan=time.monotonic()),
            on_outcome=lambda outcome: finish(),
        )
        times["end"] = time.monotonic()
        if not result.complete or len(finished) != quanta:
            raise RuntimeError(f"{len(finished)} of {quanta} quanta were executed")
        return {
            "build": times["plan"] - times["begin"],
            "execute": finished[-1] - times["plan"],
            "per quantum": (finished[-1] - finished[warm - 1]) / (quanta - warm),
            "processor per quantum": (used[-1] - used[warm - 1]) / max(quanta - warm, 1),
            "transfer": times["end"] - finished[-1],
        }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quanta", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=0.2)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--growth", type=int, nargs="+", metavar="QUANTA")
    options = parser.parse_args()
    print(f"load average before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    if options.growth:
        for quanta in options.growth:
            before = time.process_time()
            stages = ours(quanta, 0.0, 1)
            used = 1000 * (time.process_time() - before) / quanta
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            text = ", ".join(
                f"{name} {1000 * value / quanta:.2f}" for name, value in stages.items() if "per" not in name
            )
            print(
                f"{quanta} quanta: {text} ms a quantum, processor {used:.1f}; peak memory {peak:.0f} MiB",
                flush=True,
            )
        return
    plain, plain_used = plain_dask(options.quanta, options.seconds, options.processes)
    stages = ours(options.quanta, options.seconds, options.processes)
    expected = stages["per quantum"] * options.quanta
    plain_used /= options.quanta
    ratio = (options.seconds + stages["processor per quantum"]) / (options.seconds + plain_used)
    print(f"plain Dask          {plain:7.1f} s")
    print(
        f"prompt run          {expected:7.1f} s at the rate of warm processes   ratio {expected / plain:.2f}"
    )
    print(
        f"processor           {1000 * plain_used:.1f} ms a future of plain Dask, "
        f"{1000 * stages['processor per quantum']:.1f} ms a quantum   ratio with the task's time {ratio:.3f}"
    )
    print("stages              " + ", ".join(f"{name} {value:.2f} s" for name, value in stages.items()))


if __name__ == "__main__":
    main()
