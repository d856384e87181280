"""Label the sources of pairs for training and judging the reliability.

Pairs are simulated regimes, and a user's own frames (`real.sets`). What is detected on those and listed in no
``pairs.yaml`` counts as spurious, so a set should have no unknown changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from astropy.table import Table
from chain.scenes import Scene
from chain.score import MATCH_PIXELS
from numpy.typing import NDArray
from real.sets import RADIUS_PIXELS, Pair, position
from regime.score import match_pixels
from scipy.spatial import cKDTree

from prompt_processing.simulation.regime_pair import RegimePair

from .injection import inject
from .ready_pair import ReadyPair, make_ready

SPURIOUS, REAL, KNOWN = 0, 1, 2
"""Labels: not a change; an injected or simulated change; a known change of the real sky."""


def matches(
    sources: Table, x: NDArray[np.float64], y: NDArray[np.float64], sign: NDArray[np.float64], pixels: float
) -> NDArray[np.bool_]:
    """Return which sources lie within a distance of a change of the same sign."""
    if not len(sources) or not len(x):
        return np.zeros(len(sources), bool)
    near = cKDTree(np.column_stack([x, y])).query_ball_point(
        np.column_stack([sources["x"], sources["y"]]), pixels
    )
    signs = np.sign(np.asarray(sources["psfFlux"]))
    return np.array(
        [any(sign[i] == own for i in found) for found, own in zip(near, signs, strict=True)], bool
    )


def sources_of_plain_scene(scene: Scene) -> tuple[Table, NDArray[np.int64]]:
    """Return the sources of a scene of ``ap_chain.py``, and their labels."""
    sources = make_ready(scene.science, scene.template).detect()
    truth = scene.truth
    # A mover's trail is detected anywhere along it.
    radius = np.where(np.asarray(truth["kind"]) == "mover", 2, 1) * (MATCH_PIXELS + 1)
    real = np.zeros(len(sources), bool)
    for pixels in np.unique(radius):
        rows = truth[radius == pixels]
        places = np.asarray(rows["x"]), np.asarray(rows["y"]), np.sign(np.asarray(rows["electrons"]))
        real |= matches(sources, *places, float(pixels))
    return sources, np.where(real, REAL, SPURIOUS)


def sources_of_regime(pair: RegimePair, folder: Path) -> tuple[Table, NDArray[np.int64]]:
    """Return the sources of a simulated pair, and their labels."""
    ready = make_ready(*pair.write(folder))
    sources = ready.detect()
    truth = pair.truth
    real = matches(
        sources,
        np.asarray(truth["x"]),
        np.asarray(truth["y"]),
        np.sign(np.asarray(truth["flux"])),
        match_pixels(pair.science.fwhm),
    )
    return sources, np.where(real, REAL, SPURIOUS)


def sources_of_real_pair(
    pair: Pair, injections: int, rng: np.random.Generator
) -> Iterator[tuple[Table, NDArray[np.int64]]]:
    """Return the sources of a real pair with their labels: once as it is, then those of each injection.

    Of the pairs with injected sources only these are returned: the artefacts are the same each time.
    """
    ready = make_ready(pair.science, pair.template)
    sources = ready.detect()
    yield sources, np.where(_known(sources, pair, ready), KNOWN, SPURIOUS)
    for _ in range(injections):
        injected = inject(ready, rng)
        found = ready.detect(injected.science, injected.template)
        real = matches(found, injected.x, injected.y, injected.sign, match_pixels(ready.fwhm))
        yield found[real], np.full(int(real.sum()), REAL)


def _known(sources: Table, pair: Pair, ready: ReadyPair) -> NDArray[np.bool_]:
    known = np.zeros(len(sources), bool)
    wcs = ready.science.exposure.wcs if ready.on_sky else None
    for change in pair.changes:
        x, y = position(change, wcs)
        distance = np.hypot(np.asarray(sources["x"]) - x, np.asarray(sources["y"]) - y)
        known |= distance < change.get("radius", RADIUS_PIXELS)
    return known
