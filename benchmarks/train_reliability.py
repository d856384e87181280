"""Train the reliability model on simulated pairs, and test it on others.

    python benchmarks/train_reliability.py [--scenes 24] [--output python/.../reliability_model.json]

The scenes are those of the Moffat-profile generator beside this file, so that the package's own simulation
stays unseen; seeds up to the number of scenes train, seeds from 1001 on test. Detection goes down to
4.5 sigma and the filters of the pipeline are applied first, so that the model learns what they leave.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from astropy.table import Table, vstack
from difference_scenes import PairScene, make_pair
from scipy.optimize import minimize
from scipy.spatial import cKDTree

from prompt_processing.alert_production.detect_and_measure import detect_and_measure
from prompt_processing.alert_production.dia_detection import DetectionOptions
from prompt_processing.alert_production.dia_filters import FilterOptions, filter_dia_sources
from prompt_processing.alert_production.reliability import FEATURES, design_matrix, features
from prompt_processing.alert_production.subtraction import subtract
from prompt_processing.alert_production.warp import warp_template

VERSION = "logit-1"
MATCH_PIXELS = 4.0
RIDGE = 3.0
SEEINGS = ((0.9, 0.7), (0.7, 0.9), (0.8, 0.8), (1.2, 0.7), (0.65, 1.1), (1.0, 0.9))
LOOSE = FilterOptions(minimum_snr=4.5, misfit=0.6, contrast=0.005, halo=0.0005)


def scene(seed: int) -> tuple[Table, np.ndarray]:
    """Return the filtered sources of one scene and which of them are real."""
    rng = np.random.default_rng(seed)
    science_fwhm, template_fwhm = SEEINGS[seed % len(SEEINGS)]
    pair = make_pair(
        PairScene(
            shape=(1500, 1500),
            science_fwhm=science_fwhm,
            template_fwhm=template_fwhm,
            stars=int(10 ** rng.uniform(2.8, 4.0)),
            galaxies=int(rng.integers(200, 600)),
            transients=60,
            variables=20,
            movers=5,
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


def gather(seeds: range) -> tuple[Table, np.ndarray]:
    """Return the sources of several scenes."""
    tables, labels = zip(*(scene(seed) for seed in seeds), strict=True)
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
    """Apply a model that has not been written yet."""
    mean, scale = np.array(model["mean"]), np.array(model["scale"])
    log_odds = model["intercept"] + design_matrix(values, mean, scale) @ np.array(model["weights"])
    return 1 / (1 + np.exp(-log_odds))


def area_under_curve(scores: np.ndarray, real: np.ndarray) -> float:
    """Return the probability that a real source scores above a spurious one."""
    ranks = np.argsort(np.argsort(scores)) + 1
    n_real, n_spurious = int(real.sum()), int((~real).sum())
    return float((ranks[real].sum() - n_real * (n_real + 1) / 2) / max(n_real * n_spurious, 1))


def main() -> None:
    default = Path(__file__).parents[1] / "python/prompt_processing/alert_production/reliability_model.json"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=24)
    parser.add_argument("--output", type=Path, default=default)
    arguments = parser.parse_args()
    train, train_real = gather(range(1, arguments.scenes + 1))
    test, test_real = gather(range(1001, 1001 + max(arguments.scenes // 3, 3)))
    model = fit(features(train), train_real)
    scores = score(model, features(test))
    calibration = []
    print(f"train: {train_real.sum()} real, {(~train_real).sum()} spurious")
    print(f"test:  {test_real.sum()} real, {(~test_real).sum()} spurious")
    print(f"area under the curve {area_under_curve(scores, test_real):.4f}")
    for low, high in ((0, 0.1), (0.1, 0.3), (0.3, 0.5), (0.5, 0.7), (0.7, 0.9), (0.9, 1.001)):
        chosen = (scores >= low) & (scores < high)
        share = float(test_real[chosen].mean()) if chosen.any() else float("nan")
        print(f"score {low:.1f}-{min(high, 1):.1f}: {chosen.sum():5d} sources, {share:.3f} real")
        calibration.append([low, min(high, 1.0), int(chosen.sum()), None if share != share else share])
    for threshold in (0.1, 0.3, 0.5):
        kept = scores >= threshold
        print(f"above {threshold}: {test_real[kept].sum() / test_real.sum():.4f} of the real, "
              f"{(~test_real)[kept].sum() / test_real.sum():.4f} spurious per real")  # fmt: skip
    model["trained_on"] = {
        "scenes": arguments.scenes,
        "real": int(train_real.sum()),
        "spurious": int((~train_real).sum()),
    }
    model["test"] = {"area_under_curve": area_under_curve(scores, test_real), "calibration": calibration}
    arguments.output.write_text(json.dumps(model, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
