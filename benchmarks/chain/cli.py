"""Compare our chain with the classic one, on the same pixels, in the same run.

    python benchmarks/ap_chain.py [--seeds 3] [--size 1400] [--full] [--no-peers] [--regime NAME ...]
                                  [--package NAME ...] [--peer-seconds 300] [--markdown FILE]

Scenes of nine regimes are drawn with seeds that no tuning used. ``prompt-difference`` and the
classic chain (source-extractor, psfex, scamp and swarp of Debian, then one of PyPI's subtraction packages,
then source-extractor again) process the same two FITS files of the first scene of every regime. All run on
one core, and CPU seconds are compared, so that a busy machine has little effect.
Completeness is that of injected point sources by the S/N they would have in an ideal subtraction.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from astropy.io import fits

from prompt_processing.imaging.difference.residuals import robust_sigma

from .ours import run_ours
from .peers import Stages, detect_changes, missing_programs, prepare
from .results import Outcome, RegimeResult
from .scenes import REGIMES, REPORT_SEEDS, SKY_ELECTRONS, Scene, make_scene
from .score import grown, score_catalogue, score_pixels
from .subtractors import SUBTRACTORS, PeerUnavailableError, peers_python, subtract_with
from .tables import classic_table, detector_table, peers_table, quality_table
from .wall import WallTimes, measure_wall

FULL = (4072, 4000)


def run_peers(
    scene: Scene, folder: Path, result: RegimeResult, fwhms: tuple[float, float], options: argparse.Namespace
) -> None:
    """Run the classic chain once, up to the subtraction, then each subtractor and the detection."""
    stages = Stages()
    flat, warped = prepare(scene, folder, stages)
    result.remarks |= set(stages.remarks)
    result.classic = dict(stages.cpu)
    if not (flat.exists() and warped.exists()):
        return
    science, template = (fits.getdata(path).astype(np.float32) for path in (flat, warped))
    weights = fits.getdata(folder / "science.weight.fits"), fits.getdata(folder / "warped.weight.fits")
    bad = (weights[0] == 0) | (weights[1] <= 0)
    saturated = np.maximum(science, template) > 90_000
    bad |= grown(saturated, 8)
    usable = ~grown(bad, 6)
    variance = np.maximum(science, 0) + np.float32(SKY_ELECTRONS + 49)
    variance += (np.maximum(template, 0) + np.float32(SKY_ELECTRONS)) / np.float32(9)
    stars = scene.pair.stars[(np.asarray(scene.pair.stars["snr"]) > 30) & ~scene.pair.stars["saturated"]]
    for name in options.package or SUBTRACTORS:
        done = subtract_with(name, science, template, bad, fwhms, folder / "subtract", options.peer_seconds)
        outcome = result.peers[name] = Outcome(subtraction=done.cpu_seconds, remark=done.remark)
        if done.difference is None:
            print(f"  {name}: {done.remark}", flush=True)
            continue
        after = Stages()
        sources = detect_changes(folder, done.difference, bad, max(fwhms), after)
        outcome.detection = sum(after.cpu.values())
        result.remarks |= {f"{name}: {remark}" for remark in after.remarks}
        score = outcome.score = score_catalogue(scene.truth, sources)
        sky = done.difference[usable & np.isfinite(done.difference)]
        # Their differences have no variance: photon noise is used, scaled to the sky's scatter.
        scale = robust_sigma(sky / np.sqrt(variance[usable & np.isfinite(done.difference)]))
        scaled = variance * np.float32(scale) ** 2
        score_pixels(score, done.difference, scaled, usable, stars, scene.truth)
        print(
            f"  {name}: {done.cpu_seconds:.1f} s CPU, found {score.bright_found}/{score.bright} and "
            f"{score.faint_found}/{score.faint}, spurious {score.spurious_bright} and "
            f"{score.spurious_faint}, at stars {np.median(score.residual_stars or [np.nan]):.2f}",
            flush=True,
        )


def run_regime(
    name: str, seeds: list[int], shape: tuple[int, int], folder: Path, options: argparse.Namespace
) -> tuple[RegimeResult, Scene]:
    """Run a regime on several seeds, the peers on the first one only; return the last scene as well."""
    result = RegimeResult()
    regime = REGIMES[name]
    for number, seed in enumerate(seeds):
        scene = make_scene(regime, seed, shape, folder)
        if number == 0:
            # In the measured run compiled code is loaded, not compiled.
            run_ours(scene)
        run = run_ours(scene)
        result.ours = result.ours + run.score
        result.seconds.append(run.cpu_seconds)
        result.subtraction.append(run.subtraction_cpu)
        print(
            f"{name}, seed {seed}: {run.cpu_seconds:.2f} s CPU, subtraction {run.subtraction_cpu:.2f}; "
            f"found {run.score.bright_found}/{run.score.bright} and "
            f"{run.score.faint_found}/{run.score.faint}, "
            f"spurious {run.score.spurious_bright} and {run.score.spurious_faint}"
            + (f"; missed {', '.join(run.score.missed)}" if run.score.missed else ""),
            flush=True,
        )
        if number == 0:
            result.first = Outcome(run.score, run.subtraction_cpu, seconds=run.cpu_seconds)
            fwhms = float(run.result.summary["scienceFwhm"]), float(run.result.summary["templateFwhm"])
            del run
            if not options.no_peers:
                run_peers(scene, folder / "classic", result, fwhms, options)
    return result, scene


def run_detector(
    seed: int, folder: Path, options: argparse.Namespace, cores: int
) -> tuple[RegimeResult, WallTimes]:
    """Run a whole detector on one core, our chain several times and also with all cores."""
    result, scene = run_regime("typical", [seed], FULL, folder, options)
    for _ in range(options.repeats - 1):
        run = run_ours(scene)
        result.seconds.append(run.cpu_seconds)
        result.subtraction.append(run.subtraction_cpu)
        del run
    return result, measure_wall(scene.science, scene.template, cores, options.repeats)


def check_peers(packages: Sequence[str]) -> None:
    """Exit with installation instructions if a peer is missing."""
    missing = missing_programs()
    if missing:
        sys.exit(f"Not installed: {', '.join(missing)}. apt-get install {' '.join(missing)}, or --no-peers.")
    for name in packages:
        try:
            peers_python(name)
        except PeerUnavailableError as error:
            print(f"{name}: {error}", flush=True)


def tables(
    results: dict[str, RegimeResult], full: RegimeResult | None = None, wall: WallTimes | None = None
) -> str:
    """Return all tables."""
    everything = results if full is None else {**results, "typical, whole detector": full}
    parts = [quality_table(results, REGIMES)] if results else []
    if any(result.peers for result in everything.values()):
        parts += [peers_table(everything), classic_table(everything)]
    if full is not None:
        parts.append(detector_table(full, wall))
    return "\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3, help="scenes of each regime")
    parser.add_argument(
        "--size",
        type=int,
        default=1400,
        help="width of the scenes, pixels; the sparse ones are a whole detector each",
    )
    parser.add_argument("--full", action="store_true", help="one scene of a whole detector as well")
    parser.add_argument("--only-full", action="store_true", help="only the whole detector")
    parser.add_argument("--cores", type=int, default=2, help="cores for the wall-clock times")
    parser.add_argument("--repeats", type=int, default=3, help="runs of our chain on the whole detector")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--package", action="append", choices=SUBTRACTORS, help="use only these packages")
    parser.add_argument(
        "--peer-seconds", type=float, default=300, help="CPU seconds after which a subtraction is aborted"
    )
    parser.add_argument("--regime", action="append", choices=list(REGIMES), help="run only these regimes")
    parser.add_argument("--first-seed", type=int, default=REPORT_SEEDS.start)
    parser.add_argument("--markdown", type=Path, help="also write the tables to this file, after each regime")
    options = parser.parse_args()
    if not options.no_peers:
        check_peers(options.package or SUBTRACTORS)
    if os.environ.get("OMP_NUM_THREADS") != "1":
        # Libraries create their threads on import; idle ones would spin.
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **threads})
    # Inherited by every child process.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    seeds = list(range(options.first_seed, options.first_seed + options.seeds))
    results: dict[str, RegimeResult] = {}
    text = ""
    with tempfile.TemporaryDirectory() as folder:
        for name in [] if options.only_full else options.regime or REGIMES:
            shape = FULL if REGIMES[name].whole else (options.size, options.size)
            results[name], _ = run_regime(name, seeds, shape, Path(folder), options)
            text = tables(results)
            if options.markdown is not None:
                options.markdown.write_text(text, encoding="utf-8")
        if options.full or options.only_full:
            full, wall = run_detector(seeds[0], Path(folder), options, options.cores)
            text = tables(results, full, wall)
    print("\n" + text)
    if options.markdown is not None:
        options.markdown.write_text(text, encoding="utf-8")
