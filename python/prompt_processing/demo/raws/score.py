"""Compare what the commands made with the simulated truth, step by step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pandas as pd
from lsst.daf.butler import Butler
from numpy.typing import NDArray

from prompt_processing.butler.formatters import read_image
from prompt_processing.butler.opening import open_repository
from prompt_processing.butler.types import use_butler_types
from prompt_processing.demo.goals import Goal
from prompt_processing.demo.score import SNR_THRESHOLD, TransientScore, match_positions, score_transients
from prompt_processing.images import UNUSABLE, Exposure
from prompt_processing.repository.catalogues.of_templates import stars_of_templates
from prompt_processing.watch.journal import Journal

from .depth import depth_ratio
from .reachable import on_images, stand_out
from .story import NAME, Way

__all__ = ["WayScore", "alert_files", "goals_of_way", "score_way"]

_STAR_SNR = 100.0
"""Stars on the template bright enough that noise does not decide their positions."""
_STAR_RADIUS_ARCSEC = 1.0
_LEAST_RECOVERED = 0.99
_MOST_SPURIOUS = 0.02
_FEW = 1
"""Of a hundred changes or fewer, one may be missed or spurious."""


@dataclass(frozen=True, slots=True, eq=False)
class WayScore:
    """Results beside the truth.

    Attributes
    ----------
    values
        Measured values by name; see `goals_of_way`.
    nights
        Changes found on each image of tonight, by the name of the file.
    """

    values: Mapping[str, float]
    nights: Mapping[str, TransientScore]


def score_way(way: Way) -> WayScore:
    """Read the products of all steps, and compare them with the truth."""
    use_butler_types()
    with open_repository(way.repo) as butler:
        earlier = _earlier(butler, way)
        values = _calibrations(butler, way) | _template(butler, way, earlier)
    nights = _nights(way, earlier)
    values["images"] = float(len(alert_files(way.root)))
    return WayScore(values, nights)


def goals_of_way(way: Way, score: WayScore) -> list[Goal]:
    """Return what each step should reach, and whether it did."""
    v = score.values
    tonight = len(list(way.observatory.tonight.iterdir()))
    expected = sum(one.n_expected for one in score.nights.values())
    recovered = sum(one.n_recovered for one in score.nights.values())
    above = sum(one.n_above for one in score.nights.values())
    spurious = sum(one.n_spurious for one in score.nights.values())
    return [
        _within("gain, against the truth", v["gain"], 0.02),
        _within("read noise, against the truth", v["read_noise"], 0.05),
        _within("scatter of the bias over its noise", v["bias_pull"], 0.05),
        _within("scatter of the flat over its noise", v["flat_pull"], 0.05),
        _within("template's variance, against the sum of inverse variances", v["depth"], 0.02),
        Goal(
            "template's astrometry",
            f"{v['astrometry_mas']:.1f} mas ({v['stars']:.0f} stars)",
            "<= 20 mas",
            v["astrometry_mas"] <= 20,
        ),
        Goal("images processed", f"{v['images']:.0f} of {tonight}", "all", v["images"] == tonight),
        Goal(
            f"changes with S/N > {SNR_THRESHOLD:.0f} that alerts have",
            f"{recovered} of {expected}",
            f">= {_LEAST_RECOVERED:.0%}, or at most {_FEW} missed",
            expected > 0 and expected - recovered <= max(math.floor((1 - _LEAST_RECOVERED) * expected), _FEW),
        ),
        Goal(
            f"spurious alerts with S/N > {SNR_THRESHOLD:.0f}",
            f"{spurious} of {above}",
            f"<= {_MOST_SPURIOUS:.0%}, or at most {_FEW}",
            spurious <= max(math.floor(_MOST_SPURIOUS * above), _FEW),
        ),
    ]


def _within(name: str, ratio: float, limit: float) -> Goal:
    return Goal(name, f"{ratio:.3f}", f"1 +/- {limit:g}", bool(abs(ratio - 1) <= limit))


def _calibrations(butler: Butler, way: Way) -> dict[str, float]:
    truth = way.observatory.detector
    where: dict[str, Any] = {"instrument": NAME, "collections": f"{NAME}/calib"}
    (amplifier,) = butler.get("camera", **where).detector(0).amplifiers
    run: dict[str, Any] = {"collections": f"{NAME}/calib/first/run", "storageClass": "ExposureF"}
    bias: Exposure = butler.get("bias", instrument=NAME, detector=0, **run)
    (flat_ref,) = butler.query_datasets("flat", collections=run["collections"])
    flat: Exposure = butler.get(flat_ref, storageClass="ExposureF")
    good = np.asarray(truth["good"], np.bool_)
    return {
        "gain": amplifier.gain / float(truth["gain"]),
        "read_noise": amplifier.read_noise / float(truth["read_noise"]),
        "bias_pull": _pull(bias, truth["bias"], good),
        "flat_pull": _pull(flat, truth["response"] / np.median(truth["response"][good]), good),
    }


def _pull(made: Exposure, truth: NDArray[np.float64], good: NDArray[np.bool_]) -> float:
    """Return the scatter of an image about the truth over the noise that its variance states."""
    usable = good & (made.variance > 0) & ((made.mask & np.int32(int(UNUSABLE))) == 0)
    difference = made.image[usable] - truth[usable]
    # The level of the whole image is another question.
    pulls = (difference - np.median(difference)) / np.sqrt(made.variance[usable])
    low, high = np.percentile(pulls, [15.865, 84.135])
    return float(high - low) / 2


def _earlier(butler: Butler, way: Way) -> list[Exposure]:
    """Return the calibrated images that templates are made of."""
    refs = butler.query_datasets("preliminary_visit_image", f"{NAME}/prompt/*", find_first=False)
    return [read_image(butler, ref) for ref in refs if int(ref.dataId["visit"]) in _visits(way)]


def _template(butler: Butler, way: Way, earlier: Sequence[Exposure]) -> dict[str, float]:
    ratios = [
        depth_ratio(butler.get(ref, storageClass="ExposureF"), earlier)
        for ref in butler.query_datasets("template_coadd", f"{NAME}/templates/first")
    ]
    stars = stars_of_templates(butler, f"{NAME}/templates/first")
    (band,) = [name.removesuffix("_flux") for name in stars.colnames if name.endswith("_flux")]
    bright = stars[np.asarray(stars[f"{band}_flux"] > _STAR_SNR * stars[f"{band}_fluxErr"])]
    first = sorted(way.observatory.earlier.iterdir())[0]
    truth = way.observatory.truth(first)
    truth = truth[np.isin(np.asarray(truth["kind"]).astype(str), ["star", "variable"])]
    # The brightest source at a place is the one that was measured.
    truth.sort("flux", reverse=True)
    ra, dec = (np.asarray(bright[name], float) for name in ("ra", "dec"))
    true_ra, true_dec = (np.asarray(truth[name], float) for name in ("ra", "dec"))
    index, other, separation = match_positions(ra, dec, true_ra, true_dec, _STAR_RADIUS_ARCSEC)
    return {
        "depth": float(np.median(ratios)),
        # Half of the squares for one axis; the median, since blended stars have no position of their own.
        "astrometry_mas": float(np.median(separation) * 1000 / np.sqrt(2 * np.log(2))),
        "stars": float(len(index)),
        "matched_share": len(other) / max(len(bright), 1),
    }


def _visits(way: Way) -> set[int]:
    """Return the ids of the exposures that templates are made of."""
    with Journal(way.root / "earlier" / "journal.db") as journal:
        return {entry.exposure for entry in journal.entries() if entry.exposure is not None}


def alert_files(root: Path) -> list[Path]:
    """Return tonight's files of alerts, in order of time."""
    return sorted((root / "night" / "alerts").glob("*.avro"))


def _nights(way: Way, earlier: Sequence[Exposure]) -> dict[str, TransientScore]:
    scores = {}
    # Exposure ids are in order of time, as the names of the files are.
    for raw, path in zip(sorted(way.observatory.tonight.iterdir()), alert_files(way.root), strict=False):
        truth = way.observatory.truth(raw)
        with path.open("rb") as file:
            sources = [alert["diaSource"] for alert in fastavro.reader(file)]
        columns = ("diaSourceId", "ra", "dec", "snr")
        found = pd.DataFrame([[source[name] for name in columns] for source in sources], columns=columns)
        fwhm = float(truth.meta["exposure"]["fwhm_arcsec"])
        rows = truth.to_pandas()
        rows["clear"] &= on_images(rows, earlier) & stand_out(rows, fwhm)
        scores[raw.name] = score_transients(rows, found, fwhm)
    return scores
