"""Our side of ``ap_chain.py``: run ``prompt-difference`` on the files."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from astropy.table import Table

from prompt_processing.difference import DifferenceResult, difference_images
from prompt_processing.images import UNUSABLE, Mask

from .scenes import Scene
from .score import RELIABLE, Score, score_catalogue, score_pixels


@dataclass(frozen=True, slots=True, eq=False)
class OurRun:
    """The result of a run.

    Attributes
    ----------
    seconds, cpu_seconds : `float`
        Total time, from reading the files to the catalogue.
    subtraction, subtraction_cpu : `float`
        Time of kernel, convolution, decorrelation, variance and mask alone.
    result : `DifferenceResult`
    score : `Score`
    """

    seconds: float
    cpu_seconds: float
    subtraction: float
    subtraction_cpu: float
    result: DifferenceResult
    score: Score


def run_ours(scene: Scene) -> OurRun:
    """Run our chain on a scene's files."""
    start, cpu = time.perf_counter(), time.process_time()
    result = difference_images(scene.science, scene.template)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    table = result.sources[np.asarray(result.sources["reliability"]) > RELIABLE]
    sources = Table(
        {
            "x": table["x"],
            "y": table["y"],
            "snr": np.asarray(table["snr"]),
            "electrons": np.asarray(table["psfFlux"]),
            "electronsErr": np.asarray(table["psfFluxErr"]),
        }
    )
    score = score_catalogue(scene.truth, sources)
    difference = result.difference
    planes = int(UNUSABLE | Mask.SAT_TEMPLATE)
    usable = (difference.mask & planes) == 0
    stars = scene.pair.stars[(np.asarray(scene.pair.stars["snr"]) > 30) & ~scene.pair.stars["saturated"]]
    score_pixels(score, difference.image, difference.variance, usable, stars, scene.truth)
    return OurRun(
        seconds,
        cpu_seconds,
        float(result.summary["subtractionSeconds"]),
        float(result.summary["subtractionCpuSeconds"]),
        result,
        score,
    )
