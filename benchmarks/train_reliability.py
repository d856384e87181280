"""Train the reliability model on simulated pairs, and test it on others.

    python benchmarks/train_reliability.py [--scenes 150] [--size 1500] [--keep]
        [--output python/.../reliability_model.json] [--picture doc/images/reliability.png]

The scenes come from the Moffat-profile generator beside this file, so that the package's own simulation
remains unseen. Seeds up to the number of scenes train, seeds from 1001 test. Detection reaches 4.5 sigma and
the pipeline's filters are applied first, so that the model learns from the remaining sources.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from astropy.table import Table, vstack
from difference_scenes import PairScene, make_pair
from matplotlib.figure import Figure
from scipy.optimize import minimize
from scipy.spatial import cKDTree

from prompt_processing.imaging.difference.subtraction import subtract
from prompt_processing.imaging.measurement.detect_and_measure import detect_and_measure
from prompt_processing.imaging.measurement.dia_detection import DetectionOptions
from prompt_processing.imaging.measurement.dia_filters import FilterOptions, filter_dia_sources
from prompt_processing.imaging.measurement.reliability import (
    FEATURES,
    ReliabilityModel,
    design_matrix,
    features,
)
from prompt_processing.imaging.templates.warp import warp_template

VERSION = "logit-2"
MATCH_PIXELS = 4.0
RIDGE = 3.0
SEEINGS = ((0.9, 0.7), (0.7, 0.9), (0.8, 0.8), (1.2, 0.7), (0.65, 1.1), (1.0, 0.9))
LOOSE = FilterOptions(minimum_snr=4.5, misfit=0.6, contrast=0.005, halo=0.0005)


def scene(seed: int, size: int) -> tuple[Table, np.ndarray]:
    """Return the filtered sources of one scene and which of them are real."""
    rng = np.random.default_rng(seed)
    science_fwhm, template_fwhm = SEEINGS[seed % len(SEEINGS)]
    pair = make_pair(
        PairScene(
            shape=(size, size),
            science_fwhm=science_fwhm,
            template_fwhm=template_fwhm,
            stars=int(10 ** rng.uniform(2.8, 4.0)),
            galaxies=int(rng.integers(200, 600)),
            transients=60,
            variables=20,
            movers=8,
            cosmic_rays=60,
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
    sources = detect_and_measure(
        result.difference, pair.science, result.matched, DetectionOptions(threshold=4.5)
    )
    kept, _ = filter_dia_sources(sources, LOOSE)
    distance, index = cKDTree(np.c_[pair.truth["x"], pair.truth["y"]]).query(np.c_[kept["x"], kept["y"]])
    same_sign = np.sign(pair.truth["flux"][index]) == np.sign(kept["psfFlux"])
    return kept, np.asarray((distance < MATCH_PIXELS) & same_sign)


def gather(seeds: range, size: int) -> tuple[Table, np.ndarray]:
    """Return the sources of several scenes."""
    tables, labels = zip(*(scene(seed, size) for seed in seeds), strict=True)
    for table in tables:
        table.meta.clear()
    return vstack(list(tables)), np.concatenate(labels)


def fit(values: np.ndarray, real: np.ndarray) -> dict[str, object]:
    """Fit the logistic model."""
    mean, scale = values.mean(axis=0), np.maximum(values.std(axis=0), 0.05)
    design = design_matrix(values, mean, scale)
    design = np.hstack([np.ones((len(design), 1)), design])
    sign = np.where(real, 1.0, -1.0)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (design @ weights)
        value = np.logaddexp(0, -margin).sum() + 0.5 * RIDGE * np.sum(weights[1:] ** 2)
        slope = -(design * (sign / (1 + np.exp(margin)))[:, np.newaxis]).sum(axis=0)
        slope[1:] += RIDGE * weights[1:]
        return float(value), slope

    solution = minimize(loss, np.zeros(design.shape[1]), jac=True, method="L-BFGS-B").x
    return {
        "version": VERSION,
        "features": list(FEATURES),
        "intercept": float(solution[0]),
        "weights": [float(w) for w in solution[1:]],
        "mean": [float(m) for m in mean],
        "scale": [float(s) for s in scale],
    }


def score(model: dict[str, object], values: np.ndarray) -> np.ndarray:
    """Apply a model before it is written."""
    mean, scale = np.array(model["mean"]), np.array(model["scale"])
    log_odds = model["intercept"] + design_matrix(values, mean, scale) @ np.array(model["weights"])
    return 1 / (1 + np.exp(-log_odds))


def area_under_curve(scores: np.ndarray, real: np.ndarray) -> float:
    """Return the probability that a real source scores above a spurious one."""
    ranks = np.argsort(np.argsort(scores)) + 1
    n_real, n_spurious = int(real.sum()), int((~real).sum())
    return float((ranks[real].sum() - n_real * (n_real + 1) / 2) / max(n_real * n_spurious, 1))


def calibration_curve(scores: np.ndarray, real: np.ndarray) -> list[list[float | int | None]]:
    """Return low and high score, number of sources, and the share of real ones."""
    edges = ((0, 0.1), (0.1, 0.3), (0.3, 0.5), (0.5, 0.7), (0.7, 0.9), (0.9, 0.97), (0.97, 1.001))
    rows: list[list[float | int | None]] = []
    for low, high in edges:
        chosen = (scores >= low) & (scores < high)
        share = float(real[chosen].mean()) if chosen.any() else None
        rows.append([low, min(high, 1.0), int(chosen.sum()), share])
    return rows


def draw_calibration(path: Path, scores: np.ndarray, real: np.ndarray) -> None:
    """Draw the calibration curve with its errors, and histograms of the scores."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color="0.6", lw=1)
    for low, high, count, share in calibration_curve(scores, real):
        if not count or share is None or low is None or high is None:
            continue
        inside = (scores >= low) & (scores <= high)
        # Wilson's one-sigma interval, which stays within 0 and 1.
        middle = (share + 0.5 / count) / (1 + 1 / count)
        error = np.sqrt(share * (1 - share) / count + 0.25 / count**2) / (1 + 1 / count)
        left.errorbar(float(scores[inside].mean()), middle, error, fmt="o", color="#c44e52", capsize=3)
    left.set_xlabel("mean score")
    left.set_ylabel("share of real sources")
    left.set_title("calibration on test scenes", fontsize=9)
    bins = np.linspace(0, 1, 26)
    right.hist([scores[real], scores[~real]], bins, label=["real", "spurious"], color=["#4c72b0", "#c44e52"])
    right.set_yscale("log")
    right.set_xlabel("score")
    right.legend()
    figure.savefig(path, dpi=110)


def report(title: str, scores: np.ndarray, real: np.ndarray) -> None:
    """Print a model's performance."""
    print(f"{title}: area under the curve {area_under_curve(scores, real):.4f}")
    for low, high, count, share in calibration_curve(scores, real):
        told = "" if share is None else f", {share:.3f} real"
        print(f"  score {low:.2f}-{high:.2f}: {count:5d} sources{told}")
    for threshold in (0.1, 0.3, 0.5):
        kept = scores >= threshold
        print(
            f"  above {threshold}: {real[kept].sum() / real.sum():.4f} of the real, "
            f"{(~real)[kept].sum() / real.sum():.4f} spurious per real"
        )


def main() -> None:
    root = Path(__file__).parents[1]
    default = root / "python/prompt_processing/imaging/measurement/reliability_model.json"
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenes", type=int, default=150)
    parser.add_argument("--size", type=int, default=1500, help="width of the scenes, pixels")
    parser.add_argument("--output", type=Path, default=default)
    parser.add_argument("--picture", type=Path, default=root / "doc/images/reliability.png")
    parser.add_argument("--keep", action="store_true", help="do not train: test and draw the existing model")
    arguments = parser.parse_args()
    test, test_real = gather(range(1001, 1001 + max(arguments.scenes // 3, 3)), arguments.size)
    print(f"test:  {test_real.sum()} real, {(~test_real).sum()} spurious", flush=True)
    scores = np.asarray(ReliabilityModel.load().score(test), float)
    report("the package's model", scores, test_real)
    if not arguments.keep:
        train, train_real = gather(range(1, arguments.scenes + 1), arguments.size)
        print(f"train: {train_real.sum()} real, {(~train_real).sum()} spurious")
        model = fit(features(train), train_real)
        scores = score(model, features(test))
        report("the new model", scores, test_real)
        model["trained_on"] = {
            "scenes": arguments.scenes,
            "real": int(train_real.sum()),
            "spurious": int((~train_real).sum()),
        }
        model["test"] = {
            "area_under_curve": area_under_curve(scores, test_real),
            "calibration": calibration_curve(scores, test_real),
        }
        arguments.output.write_text(json.dumps(model, indent=1) + "\n", encoding="utf-8")
    draw_calibration(arguments.picture, scores, test_real)


if __name__ == "__main__":
    main()
