"""Run ``prompt-difference`` on simulated pairs of every regime that is hard to subtract.

    python benchmarks/regimes.py [--seeds 3] [--size 512] [--regime NAME ...]
                                 [--markdown FILE] [--keep FOLDER]

For each regime: how many pairs were subtracted, completeness of what changed (point sources on usable
pixels, by the signal-to-noise ratio in the best possible difference), spurious sources, and residuals.
`Spurious` counts catalogued sources; `reliable` those with a reliability above 0.5. ``--keep`` leaves each
pair and its truth, to repeat it with ``prompt-difference science.fits template.fits``.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from prompt_processing.difference import DifferenceError, difference_images
from prompt_processing.simulation.regime_pair import simulate_regime
from prompt_processing.simulation.regimes import REGIMES

from .score import DifferencedPair, PairScore, score_pair

FIRST_SEED = 5001
"""Training of the reliability uses only seeds below."""

HEADER = (
    "| regime | subtracted | seeing | found, S/N > 10 | S/N 5 to 10 | spurious, S/N > 10 | S/N 5 to 10 "
    "| reliable | residual / noise, sky | at stars | at the brightest | seconds |\n" + "|---" * 12 + "|\n"
)


@dataclass
class RegimeResult:
    """Scores of the pairs of a regime."""

    pairs: int = 0
    scores: list[PairScore] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def row(self, name: str) -> str:
        """Return a row of the table."""

        def total(of: str) -> int:
            return sum(getattr(score, of) for score in self.scores)

        def middle(of: str) -> str:
            values = [getattr(score, of) for score in self.scores]
            finite = [value for value in values if np.isfinite(value)]
            return f"{np.median(finite):.2f}" if finite else "-"

        cells = [
            name,
            f"{len(self.scores)} of {self.pairs}",
            middle("seeing_ratio"),
            f"{total('bright_found')} of {total('bright')}",
            f"{total('faint_found')} of {total('faint')}",
            f"{total('spurious_bright')}",
            f"{total('spurious_faint')}",
            f"{total('spurious_reliable')}",
            *(middle(of) for of in ("residual_sky", "residual_stars", "residual_bright")),
            f"{np.median(self.seconds):.1f}" if self.seconds else "-",
        ]
        return "| " + " | ".join(cells) + " |\n"


def run_regime(name: str, seeds: range, size: int, folder: Path) -> RegimeResult:
    """Run all pairs of a regime."""
    result = RegimeResult()
    regime = REGIMES[name]
    for seed in seeds:
        pair = simulate_regime(regime, seed, (size, size))
        place = folder / f"{name.replace(' ', '-').replace(',', '')}-{seed}"
        paths = pair.write(place)
        pair.truth.write(place / "truth.ecsv", overwrite=True)
        result.pairs += 1
        start = time.perf_counter()
        try:
            difference = difference_images(*paths)
        except DifferenceError as error:
            result.failures.append(f"{name}, seed {seed}: {error}")
            print(f"  refused: {result.failures[-1]}", flush=True)
            continue
        result.seconds.append(time.perf_counter() - start)
        score = score_pair(DifferencedPair(difference, pair.truth, pair.stars, pair.science.fwhm))
        result.scores.append(score)
        for line in score.missed + score.spurious:
            print(f"  {name}, seed {seed}: {line}", flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3, help="pairs of each regime")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--size", type=int, default=512, help="width of the science images, pixels")
    parser.add_argument("--regime", action="append", choices=list(REGIMES), help="run only these regimes")
    parser.add_argument("--markdown", type=Path, help="also write the table to this file")
    parser.add_argument("--keep", type=Path, help="folder in which the pairs and their truth remain")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    text = HEADER
    with tempfile.TemporaryDirectory() as temporary:
        for name in options.regime or REGIMES:
            row = run_regime(name, seeds, options.size, options.keep or Path(temporary)).row(name)
            print(row, end="", flush=True)
            text += row
            if options.markdown is not None:
                options.markdown.write_text(text, encoding="utf-8")
    print("\n" + text)
