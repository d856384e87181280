"""Our chain against the classic one, on the same pixels, in the same run.

    python benchmarks/ap_chain.py [--seeds 3] [--size 1400] [--full] [--no-peers] [--regime NAME ...]
                                  [--peers-on NAME ...] [--markdown FILE]

Scenes of nine regimes are drawn with seeds that nothing was tuned on. ``prompt-difference`` and the
classic chain (source-extractor, psfex, scamp and swarp of Debian, then one of the packages that PyPI has for
subtraction, then source-extractor again) get the same two FITS files. All run on one core, and CPU seconds
are compared, so that a busy machine changes little.
Completeness is that of injected point sources by the S/N they would have in an ideal subtraction.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from astropy.io import fits
from chain_ours import OurRun, run_ours
from chain_peers import Stages, detect_changes, missing_programs, prepare
from chain_scenes import REGIMES, REPORT_SEEDS, SKY_ELECTRONS, Scene, make_scene
from chain_score import Score, grown, score_catalogue, score_pixels
from chain_subtractors import SUBTRACTORS, peers_python, subtract_with
from chain_tables import quality_tables, speed_table

from prompt_processing.alert_production.residuals import robust_sigma

FULL = (4072, 4000)
GIVE_UP_SECONDS = 1500.0


@dataclass
class PeerResult:
    """What one peer reached in one regime."""

    score: Score = field(default_factory=Score)
    seconds: list[float] = field(default_factory=list)
    remarks: set[str] = field(default_factory=set)


@dataclass
class RegimeResult:
    """Everything of one regime."""

    ours: Score = field(default_factory=Score)
    seconds: list[float] = field(default_factory=list)
    subtraction: list[float] = field(default_factory=list)
    classic: dict[str, list[float]] = field(default_factory=dict)
    peers: dict[str, PeerResult] = field(default_factory=dict)
    remarks: set[str] = field(default_factory=set)


def add_ours(result: RegimeResult, run: OurRun) -> None:
    result.ours = result.ours + run.score
    result.seconds.append(run.cpu_seconds)
    result.subtraction.append(run.subtraction_cpu)


def run_peers(scene: Scene, folder: Path, result: RegimeResult, fwhms: tuple[float, float]) -> None:
    """Run the classic chain once, up to the subtraction, then each subtractor and what follows."""
    stages = Stages()
    flat, warped = prepare(scene, folder, stages)
    result.remarks |= set(stages.remarks)
    if not (flat.exists() and warped.exists()):
        return
    for stage, seconds in stages.cpu.items():
        result.classic.setdefault(stage, []).append(seconds)
    science, template = (fits.getdata(path).astype(np.float32) for path in (flat, warped))
    weights = fits.getdata(folder / "science.weight.fits"), fits.getdata(folder / "warped.weight.fits")
    bad = (weights[0] == 0) | (weights[1] <= 0)
    saturated = np.maximum(science, template) > 90_000
    bad |= grown(saturated, 8)
    usable = ~grown(bad, 6)
    variance = np.maximum(science, 0) + np.float32(SKY_ELECTRONS + 49)
    variance += (np.maximum(template, 0) + np.float32(SKY_ELECTRONS)) / np.float32(9)
    stars = scene.pair.stars[(np.asarray(scene.pair.stars["snr"]) > 30) & ~scene.pair.stars["saturated"]]
    for name in SUBTRACTORS:
        peer = result.peers.setdefault(name, PeerResult())
        done = subtract_with(name, science, template, bad, fwhms, folder / "subtract", GIVE_UP_SECONDS)
        peer.remarks.add(done.remark)
        if done.difference is None:
            print(f"  {name}: failed: {done.remark}", flush=True)
            continue
        peer.seconds.append(done.cpu_seconds)
        sources = detect_changes(folder, done.difference, bad, Stages())
        score = score_catalogue(scene.truth, sources)
        sky = done.difference[usable & np.isfinite(done.difference)]
        # They give no variance: photon noise, scaled so that the sky is what it should be.
        scale = robust_sigma(sky / np.sqrt(variance[usable & np.isfinite(done.difference)]))
        scaled = variance * np.float32(scale) ** 2
        score_pixels(score, done.difference, scaled, usable, stars, scene.truth)
        peer.score = peer.score + score
        print(
            f"  {name}: {done.cpu_seconds:.1f} s CPU, found {score.bright_found}/{score.bright}, "
            f"spurious {score.spurious_bright}, at stars {np.median(score.residual_stars or [np.nan]):.2f}",
            flush=True,
        )


def run_regime(
    name: str, seeds: list[int], shape: tuple[int, int], folder: Path, peers: bool
) -> RegimeResult:
    """Run a regime on several seeds; peers see the first one only."""
    result = RegimeResult()
    regime = REGIMES[name]
    for number, seed in enumerate(seeds):
        scene = make_scene(regime, seed, shape, folder)
        if number == 0:
            # Compiled code is loaded, not compiled, in the run that counts.
            run_ours(scene)
        run = run_ours(scene)
        add_ours(result, run)
        print(
            f"{name}, seed {seed}: {run.cpu_seconds:.2f} s CPU, subtraction {run.subtraction_cpu:.2f}; "
            f"found {run.score.bright_found}/{run.score.bright} and "
            f"{run.score.faint_found}/{run.score.faint}, "
            f"spurious {run.score.spurious_bright} and {run.score.spurious_faint}"
            + (f"; missed {', '.join(run.score.missed)}" if run.score.missed else ""),
            flush=True,
        )
        if peers and number == 0:
            fwhms = float(run.result.summary["scienceFwhm"]), float(run.result.summary["templateFwhm"])
            run_peers(scene, folder / "classic", result, fwhms)
    return result


def check_peers() -> None:
    """Stop, and tell what to install, if a peer is missing."""
    missing = missing_programs()
    if missing:
        sys.exit(f"Not installed: {', '.join(missing)}. apt-get install {' '.join(missing)}, or --no-peers.")
    peers_python()


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
    parser.add_argument(
        "--full",
        action="store_true",
        help="one scene of a whole detector for the speeds, too (ours only, with --peers-on)",
    )
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--regime", action="append", choices=list(REGIMES), help="only these")
    parser.add_argument("--peers-on", action="append", choices=list(REGIMES), help="peers only in these")
    parser.add_argument("--first-seed", type=int, default=REPORT_SEEDS.start)
    parser.add_argument("--markdown", type=Path, help="write the tables there as well")
    options = parser.parse_args()
    if not options.no_peers:
        check_peers()
    if os.environ.get("OMP_NUM_THREADS") != "1":
        # Libraries make their threads when they are imported; these would wait by spinning.
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **threads})
    # Inherited by every program that is started.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    seeds = list(range(options.first_seed, options.first_seed + options.seeds))
    results: dict[str, RegimeResult] = {}
    full: RegimeResult | None = None
    with tempfile.TemporaryDirectory() as folder:
        for name in options.regime or REGIMES:
            peers = not options.no_peers and name in (options.peers_on or REGIMES)
            shape = FULL if REGIMES[name].whole else (options.size, options.size)
            results[name] = run_regime(name, seeds, shape, Path(folder), peers)
        if options.full:
            peers = not options.no_peers and not options.peers_on
            full = run_regime("typical", seeds[:1], FULL, Path(folder), peers)
    text = quality_tables(results, REGIMES) + speed_table(results, full)
    print("\n" + text)
    if options.markdown is not None:
        options.markdown.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
