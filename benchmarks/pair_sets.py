"""Sets of image pairs for training and judging the reliability: simulated regimes, and a user's own frames.

A folder of real sets has one folder a set, each with the file ``pairs.yaml``::

    pairs:
      - science: night2.fits
        template: night1.fits[SCI]
        changes:                    # known changes of this pair, on the science image
          - {x: 272.6, y: 227.1}    # pixels, the centre of the first is 0, 0
    changes:                        # and of all pairs
      - {ra: 146.29616, dec: 17.76250, radius: 3}

Paths are relative to the file. ``radius`` (pixels of the science image, 6 by default) is how far away a
detection of the change may be. All else that is detected counts as spurious, so a set should have no unknown
changes. `real_pairs` reads the same file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from astropy.table import Table
from inject_sources import inject
from numpy.typing import NDArray
from ready_pair import ReadyPair, make_ready
from scipy.spatial import cKDTree

from prompt_processing.simulation.regime_pair import RegimePair

MATCH_FWHM, MATCH_PIXELS = 0.7, 3.0
SPURIOUS, REAL, KNOWN = 0, 1, 2
"""Labels: not a change; an injected or simulated change; a known change of the real sky."""


@dataclass(frozen=True, slots=True)
class RealPair:
    """Two files and what is known to have changed between them."""

    science: str
    template: str
    changes: list[dict[str, float]] = field(default_factory=list)


def read_sets(folder: Path) -> dict[str, list[RealPair]]:
    """Read the pairs of all sets below a folder."""
    sets = {}
    for path in sorted(folder.glob("*/pairs.yaml")):
        document: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
        everywhere = document.get("changes", [])
        sets[path.parent.name] = [
            RealPair(
                str(path.parent / one["science"]),
                str(path.parent / one["template"]),
                everywhere + one.get("changes", []),
            )
            for one in document["pairs"]
        ]
    return sets


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
        max(MATCH_FWHM * pair.science.fwhm, MATCH_PIXELS),
    )
    return sources, np.where(real, REAL, SPURIOUS)


def sources_of_real_pair(
    pair: RealPair, injections: int, rng: np.random.Generator
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
        real = matches(
            found, injected.x, injected.y, injected.sign, max(MATCH_FWHM * ready.fwhm, MATCH_PIXELS)
        )
        yield found[real], np.full(int(real.sum()), REAL)


def _known(sources: Table, pair: RealPair, ready: ReadyPair) -> NDArray[np.bool_]:
    known = np.zeros(len(sources), bool)
    for change in pair.changes:
        x, y = change.get("x", np.nan), change.get("y", np.nan)
        wcs = ready.science.exposure.wcs
        if "ra" in change and ready.on_sky and wcs is not None:
            x, y = (float(v) for v in wcs.all_world2pix(change["ra"], change["dec"], 0))
        distance = np.hypot(np.asarray(sources["x"]) - x, np.asarray(sources["y"]) - y)
        known |= distance < change.get("radius", 6.0)
    return known
