"""Sets of pairs of real images.

A folder holds one folder a set of images of one field. Its ``pairs.yaml`` lists its pairs and what changed::

    pairs:
      - science: night2.fits
        template: night1.fits[SCI]
        changes:                    # of this pair
          - {x: 272.6, y: 227.1}    # pixels of the science image; the centre of the first is 0, 0
        possible: true              # false: a person would not call this pair possible either
    changes:                        # of all pairs; needs a WCS
      - {ra: 146.29616, dec: 17.76250, radius: 3, sign: -1}

Paths are relative to the file. ``radius`` (pixels of the science image, 6 by default) is how far away a
detection may be; with a ``sign``, a detection of the other sign does not count.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from astropy.wcs import WCS

from prompt_processing.difference import DifferenceError, open_image

ENDINGS = (".fits", ".fit", ".fts", ".fits.gz", ".fit.gz", ".fits.fz", ".fits.bz2")
LIST = "pairs.yaml"
FILTERS = ("FILTER", "FILTER1", "FILTERS", "FILTNAM")
RADIUS_PIXELS = 6.0


@dataclass(frozen=True, slots=True)
class Pair:
    """Two images, and what is known to have changed between them."""

    science: str
    template: str
    changes: list[dict[str, float]] = field(default_factory=list)
    possible: bool = True


def position(change: dict[str, float], wcs: WCS | None) -> tuple[float, float]:
    """Return the pixels of a known change; NaN if a WCS is needed and there is none."""
    if "ra" in change and wcs is not None:
        x, y = wcs.all_world2pix(change["ra"], change["dec"], 0)
        return float(x), float(y)
    return change.get("x", float("nan")), change.get("y", float("nan"))


def read_sets(folder: Path, names: list[str] | None = None) -> dict[str, list[Pair]]:
    """Read the pairs of all sets below a folder; a folder of images alone is one set."""
    folders = sorted(path for path in folder.iterdir() if path.is_dir())
    if (folder / LIST).exists() or not any((path / LIST).exists() or _images(path) for path in folders):
        folders = [folder]
    sets = {}
    for path in folders:
        if names and path.name not in names:
            continue
        pairs = _listed(path) if (path / LIST).exists() else _unlisted(path)
        if pairs:
            sets[path.name] = pairs
    return sets


def listed_sets(folder: Path) -> dict[str, list[Pair]]:
    """Read the pairs of the sets below a folder that have a list of them."""
    return {path.parent.name: _listed(path.parent) for path in sorted(folder.glob(f"*/{LIST}"))}


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name.lower().endswith(ENDINGS))


def _listed(folder: Path) -> list[Pair]:
    document: dict[str, Any] = yaml.safe_load((folder / LIST).read_text("utf-8"))
    return [
        Pair(
            str(folder / one["science"]),
            str(folder / one["template"]),
            list(document.get("changes", [])) + list(one.get("changes", [])),
            bool(one.get("possible", True)),
        )
        for one in document["pairs"]
    ]


def _unlisted(folder: Path) -> list[Pair]:
    first: dict[str, Path] = {}
    pairs = []
    for path in _images(folder):
        try:
            header = open_image(path).header
        except DifferenceError as error:
            print(f"{path}: {error}")
            continue
        band = next((str(header[key]) for key in FILTERS if key in header), "")
        if band in first:
            pairs.append(Pair(str(path), str(first[band])))
        first.setdefault(band, path)
    return pairs
