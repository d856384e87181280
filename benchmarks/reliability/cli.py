"""Train the reliability model, and test it on images that it has not seen.

    python benchmarks/train_reliability.py [--real FOLDER] [--sources FILE] [--keep] [--scenes 40]
        [--plain 12] [--seeds 6] [--injections 2] [--output reliability_model.json]
        [--picture reliability.png]

Four kinds of pairs are subtracted: scenes of `moffat`, the plain regimes of ``ap_chain.py``, the hard ones of
`prompt_processing.simulation.regimes`, and real frames, if ``--real`` names a folder of sets (`real.sets`
describes it). On real frames, all that is detected is spurious unless ``pairs.yaml`` lists it. Copies of
the frames' own stars are injected into either image, and stars are made to vary, for real changes of both
signs and all signal-to-noise ratios. Detection reaches 4.5 sigma, and looser filters than the pipeline's
are applied first.

Every real set is judged by a model that was trained without it; the written model is trained on all of
them. ``--sources`` keeps what was gathered (Parquet), and reads it if it exists. ``--keep`` tests the
existing model.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
from pathlib import Path

import numpy as np
from astropy.table import Table, vstack
from chain.scenes import REGIMES as PLAIN_REGIMES
from chain.scenes import make_scene
from moffat.scenes import PairScene, make_pair
from numpy.typing import NDArray
from real.sets import listed_sets

from prompt_processing.difference import DifferenceError
from prompt_processing.imaging.difference.subtraction import subtract
from prompt_processing.imaging.errors import UnusableModelError
from prompt_processing.imaging.measurement.detect_and_measure import detect_and_measure
from prompt_processing.imaging.measurement.dia_detection import DetectionOptions
from prompt_processing.imaging.measurement.dia_filters import filter_dia_sources
from prompt_processing.imaging.measurement.reliability import FEATURES, ReliabilityModel, features
from prompt_processing.imaging.templates.warp import warp_template
from prompt_processing.simulation.regime_pair import simulate_regime
from prompt_processing.simulation.regimes import REGIMES

from .fit import SHARES, fit_model, score_with
from .labels import (
    KNOWN,
    REAL,
    SPURIOUS,
    matches,
    sources_of_plain_scene,
    sources_of_real_pair,
    sources_of_regime,
)
from .ready_pair import LOOSE, THRESHOLD
from .report import HEADER, draw_report, report_set

MATCH_PIXELS = 4.0
SEEINGS = ((0.9, 0.7), (0.7, 0.9), (0.8, 0.8), (1.2, 0.7), (0.65, 1.1), (1.0, 0.9))
TEST_SEED = 1001
"""Scenes and regimes with seeds from here on are not trained on."""


def sources_of_scene(seed: int, size: int) -> tuple[Table, NDArray[np.int64]]:
    """Return the sources of one Moffat scene, and their labels."""
    rng = np.random.default_rng(seed)
    science_fwhm, template_fwhm = SEEINGS[seed % len(SEEINGS)]
    pair = make_pair(
        PairScene(
            shape=(size, size),
            science_fwhm=science_fwhm,
            template_fwhm=template_fwhm,
            stars=int(10 ** rng.uniform(2.8, 4.0) * (size / 1500) ** 2),
            galaxies=int(rng.integers(200, 600) * (size / 1500) ** 2),
            transients=40,
            variables=15,
            movers=6,
            cosmic_rays=40,
            masked_fraction=float(rng.choice([0, 0.01])),
            astrometric_scatter=float(rng.choice([0, 0.01, 0.03])),
            beta=float(rng.uniform(2.5, 4.0)),
            rotation=float(rng.uniform(0, 360)),
            template_exposures=int(rng.choice([3, 9, 20])),
            seed=seed,
        )
    )
    template = warp_template(pair.patches, pair.science.wcs, pair.science.shape)
    result = subtract(pair.science, template, pair.stars)
    options = DetectionOptions(threshold=THRESHOLD)
    sources = detect_and_measure(result.difference, pair.science, result.matched, options)
    kept, _ = filter_dia_sources(sources, LOOSE)
    truth = pair.truth
    places = np.asarray(truth["x"]), np.asarray(truth["y"]), np.sign(np.asarray(truth["flux"]))
    return kept, np.where(matches(kept, *places, MATCH_PIXELS), REAL, SPURIOUS)


def gather(options: argparse.Namespace) -> Table:
    """Return the sources of all pairs, with the columns ``set``, ``seed`` and ``label``."""
    parts: list[Table] = []

    def add(name: str, seed: int, sources: Table, labels: NDArray[np.int64]) -> None:
        numbers = [c for c in sources.colnames if sources[c].dtype.kind in "fbiu"]
        part = sources[numbers]
        part.meta.clear()
        part["set"], part["seed"], part["label"] = name, seed, labels
        parts.append(part)
        print(
            f"{name}, {seed}: {(labels == REAL).sum()} real, {(labels == SPURIOUS).sum()} spurious",
            flush=True,
        )

    for number in range(options.scenes):
        # Every third scene tests.
        seed = number + 1 if number % 3 else TEST_SEED + number
        add("scenes", seed, *sources_of_scene(seed, options.size))
    with tempfile.TemporaryDirectory() as folder:
        for name, plain in PLAIN_REGIMES.items():
            for number in range(options.plain):
                seed = number + 1 if number % 3 else TEST_SEED + number
                scene = make_scene(plain, seed, (options.size, options.size), Path(folder))
                add(f"plain: {name}", seed, *sources_of_plain_scene(scene))
        for name, regime in REGIMES.items():
            for number in range(options.seeds):
                seed = number + 1 if number % 3 else TEST_SEED + number
                pair = simulate_regime(regime, seed)
                try:
                    add(f"regime: {name}", seed, *sources_of_regime(pair, Path(folder)))
                except DifferenceError as error:
                    print(f"{name}, {seed}: refused: {error}")
    for name, pairs in listed_sets(options.real).items() if options.real else ():
        for number, real_pair in enumerate(pairs):
            rng = np.random.default_rng([number, len(name)])
            try:
                for sources, labels in sources_of_real_pair(real_pair, options.injections, rng):
                    add(f"real: {name}", number, sources, labels)
            except DifferenceError as error:
                print(f"{real_pair.science} - {real_pair.template}: refused: {error}")
    return vstack(parts, metadata_conflicts="silent")


def features_by_pair(sources: Table) -> NDArray[np.float64]:
    """Return the features of each source among those of its own pair, some of which set the scale."""
    pair = np.char.add(np.asarray(sources["set"]).astype(str), np.asarray(sources["seed"]).astype(str))
    values = np.zeros((len(sources), len(FEATURES)))
    for one in np.unique(pair):
        values[pair == one] = features(sources[pair == one])
    return values


def families(groups: NDArray[np.str_]) -> NDArray[np.str_]:
    """Return the family of each set of pairs, a key of `SHARES`."""
    family = np.char.partition(groups, ":")[:, 0]
    return np.where(np.isin(family, list(SHARES)), family, "plain")


def main() -> None:
    root = Path(__file__).parents[2]
    default = root / "python/prompt_processing/imaging/measurement/reliability_model.json"
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--real", type=Path, help="folder of sets of real pairs")
    parser.add_argument(
        "--sources", type=Path, help="what was gathered is kept in this file, and read from it"
    )
    parser.add_argument("--scenes", type=int, default=40, help="Moffat scenes")
    parser.add_argument("--size", type=int, default=1000, help="width of the scenes, pixels")
    parser.add_argument("--plain", type=int, default=12, help="scenes of each regime of ap_chain.py")
    parser.add_argument("--seeds", type=int, default=6, help="pairs of each hard regime")
    parser.add_argument(
        "--injections", type=int, default=2, help="times that sources are injected into a real pair"
    )
    parser.add_argument("--output", type=Path, default=default)
    parser.add_argument("--picture", type=Path, default=root / "doc/images/reliability.png")
    parser.add_argument("--keep", action="store_true", help="do not train: test and draw the existing model")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    if options.sources is not None and options.sources.exists():
        sources = Table.read(options.sources)
    else:
        sources = gather(options)
        if options.sources is not None:
            sources.write(options.sources)
    values = features_by_pair(sources)
    label, group = np.asarray(sources["label"]), np.asarray(sources["set"]).astype(str)
    real, known, family = label == REAL, label == KNOWN, families(group)
    simulated = ~np.char.startswith(group, "real: ")
    testing = simulated & (np.asarray(sources["seed"]) >= TEST_SEED)
    try:
        existing = ReliabilityModel.load().probability(values)
    except UnusableModelError as error:
        print(error)
        existing = np.full(len(sources), np.nan)
    scores = existing.copy()
    if not options.keep:
        training = ~testing & ~known
        for name in np.unique(group[~simulated]):
            others = training & (group != name)
            without = fit_model(values[others], real[others], family[others])
            scores[group == name] = score_with(without, values[group == name])
        model = fit_model(values[training], real[training], family[training])
        scores[simulated] = score_with(model, values[simulated])
    print(HEADER)
    for name in ["scenes", "plain:", "regime:", *np.unique(group[~simulated])]:
        chosen = np.char.startswith(group, name) if name.endswith(":") else group == name
        chosen &= testing | ~simulated
        print(report_set(name, scores[chosen], existing[chosen], real[chosen], known[chosen]), flush=True)
    if not options.keep:
        model["trained_on"] = {
            "real": int(real[training].sum()),
            "spurious": int((~real)[training].sum()),
            "sets": sorted({str(name).partition(":")[0] for name in group[training]}),
        }
        options.output.write_text(json.dumps(model, indent=1) + "\n", encoding="utf-8")
    judged = (testing | ~simulated) & ~known
    draw_report(options.picture, scores[judged], real[judged], group[judged])
