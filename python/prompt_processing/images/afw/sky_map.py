"""Sky maps that the stack's ``lsst.skymap`` pickled."""

from __future__ import annotations

import ast
import math
from typing import Any

from ..sky_map import SkyMap, Tract
from .errors import StackFileError
from .pickles import Record, read_pickle

__all__ = ["read_sky_map"]

_MODULES = ("lsst.skymap", "lsst.pex.config")


def read_sky_map(content: bytes, name: str, what: str) -> SkyMap:
    """Read a sky map from a pickle, without running any of it.

    Parameters
    ----------
    content
        The pickle.
    name
        The ``skymap`` dimension, which the pickle does not hold.
    what
        Description of the file, for messages.

    Returns
    -------
    sky_map
        All tracts, with the stack's numbers.

    Raises
    ------
    StackFileError
        Raised if it is not a sky map of rings (``RingsSkyMap``) or of single tracts (``DiscreteSkyMap``) in
        tangent planes.
    """
    record = read_pickle(content, _MODULES, what)
    makers = {"RingsSkyMap": _rings, "DiscreteSkyMap": _discrete}
    if not isinstance(record, Record) or record.class_name not in makers:
        kind = record.class_name if isinstance(record, Record) else type(record).__name__
        raise StackFileError(f"{what} is a {kind}; sky maps of the kinds {' and '.join(makers)} are read.")
    try:
        config, version = _config_and_version(record)
        config = {**_DEFAULTS, **config}
        layout = _layout(config, what)
        tracts = makers[record.class_name](config, layout, version)
    except (KeyError, TypeError, ValueError, IndexError, SyntaxError) as error:
        if isinstance(error, StackFileError):
            raise
        raise StackFileError(f"{what} has an unknown form: {error!r}") from error
    return SkyMap(
        name=name,
        pixel_scale=layout.pixel_scale,
        patch_size=layout.patch_size,
        patch_overlap=layout.border,
        patches_per_side=max(tract.patches_per_side or 1 for tract in tracts),
        tracts=tuple(tracts),
        clipped=layout.clipped,
    )


_DEFAULTS: dict[str, Any] = {
    "tractOverlap": 1.0,
    "pixelScale": 0.333,
    "projection": "STG",
    "rotation": 0.0,
    "raStart": 0.0,
    "tractBuilder.name": "legacy",
    "legacy.patchInnerDimensions": [4000, 4000],
    "legacy.patchBorder": 100,
    "cells.cellInnerDimensions": [150, 150],
    "cells.cellBorder": 50,
    "cells.numCellsPerPatchInner": 20,
    "cells.numCellsInPatchBorder": 1,
}
"""Values that the stack leaves out, by their names in `_config_and_version`."""


class _Layout:
    """Patches of a tract, as the stack lays them out.

    Attributes
    ----------
    pixel_scale
        Arcseconds per pixel.
    patch_size, border
        Inner width of a patch, and what its image adds on every side, pixels.
    clipped
        Whether images of patches end where their tract does.
    """

    def __init__(self, pixel_scale: float, patch_size: int, border: int, clipped: bool) -> None:
        self.pixel_scale = pixel_scale
        self.patch_size = patch_size
        self.border = border
        self.clipped = clipped

    def tract(self, number: int, ra: float, dec: float, radius: float) -> Tract:
        """Return a tract that reaches at least ``radius`` (degrees) from its centre along both axes."""
        half = math.degrees(math.tan(math.radians(radius))) * 3600 / self.pixel_scale
        # Pixels are included in whole, the centre of one being that of the tract; then the box grows to whole
        # patches, to the lower left by the smaller half.
        first, last = math.floor(0.5 - half), math.ceil(half - 0.5)
        width = last - first + 1
        patches = -(-width // self.patch_size)
        first -= (patches * self.patch_size - width) // 2
        return Tract(number, ra, dec, patches, float(-first))


def _layout(config: dict[str, Any], what: str) -> _Layout:
    if config["projection"] != "TAN" or config["rotation"] != 0:
        raise StackFileError(
            f"{what} has the projection {config['projection']}, rotated by {config['rotation']} degrees; "
            "only TAN without rotation is read."
        )
    scale = float(config["pixelScale"])
    if config["tractBuilder.name"] == "cells":
        cell = _square(config["cells.cellInnerDimensions"], what)
        border = config["cells.numCellsInPatchBorder"] * cell + config["cells.cellBorder"]
        return _Layout(scale, cell * config["cells.numCellsPerPatchInner"], border, clipped=False)
    size = _square(config["legacy.patchInnerDimensions"], what)
    return _Layout(scale, size, int(config["legacy.patchBorder"]), clipped=True)


def _square(sides: list[int], what: str) -> int:
    if len(set(sides)) != 1:
        raise StackFileError(f"{what} has patches of {sides[0]} by {sides[1]} pixels; only squares are read.")
    return int(sides[0])


def _rings(config: dict[str, Any], layout: _Layout, version: int) -> list[Tract]:
    """Return the tracts of rings of equal declination, from the south pole to the north pole."""
    n_rings = int(config["numRings"])
    size = 180.0 / (n_rings + 1)
    radius = 0.5 * size + float(config["tractOverlap"])
    numbers = []
    for ring in range(n_rings):
        south = size * (ring + 0.5) - 90.0
        nearest = min(abs(south), abs(south + size))
        numbers.append(int(360.0 * math.cos(math.radians(nearest)) / size) + 1)
    places = [(0.0, -90.0)]
    rings = [(ring, place) for ring, number in enumerate(numbers) for place in range(number)]
    if version == 0:
        # The numbering of the first version is off by one: it has the first tract of the first ring twice,
        # and not the first of the last.
        rings = [_first_version(index, numbers) for index in range(sum(numbers))]
    for ring, place in rings:
        ra = (360.0 * place / numbers[ring] + float(config["raStart"])) % 360.0
        places.append((ra, size * (ring + 1) - 90.0))
    places.append((0.0, 90.0))
    return [layout.tract(number, ra, dec, radius) for number, (ra, dec) in enumerate(places)]


def _first_version(index: int, numbers: list[int]) -> tuple[int, int]:
    ring = 0
    while ring < len(numbers) and index > numbers[ring]:
        index -= numbers[ring]
        ring += 1
    return ring, index


def _discrete(config: dict[str, Any], layout: _Layout, version: int) -> list[Tract]:
    return [
        layout.tract(number, float(ra), float(dec), float(radius) + float(config["tractOverlap"]))
        for number, (ra, dec, radius) in enumerate(
            zip(config["raList"], config["decList"], config["radiusList"], strict=True)
        )
    ]


def _config_and_version(record: Record) -> tuple[dict[str, Any], int]:
    """Return a sky map's configuration and the version of its numbering.

    The stack writes the configuration as lines of Python, ``config.numRings=120``. Here only assignments of
    literal values are read.
    """
    reduced = record.arguments[0]
    version = int(record.arguments[1]) if len(record.arguments) > 1 else 1
    text = reduced.arguments[1]
    source = text.decode() if isinstance(text, bytes) else str(text)
    values: dict[str, Any] = {}
    for node in ast.parse(source).body:
        if not isinstance(node, ast.Assign) or len(node.targets) != 1:
            continue
        name = ast.unparse(node.targets[0]).removeprefix("config.")
        if name.startswith("tractBuilder["):
            builder, _, name = name.removeprefix("tractBuilder[").partition("].")
            name = f"{ast.literal_eval(builder)}.{name}"
        elif name in ("patchInnerDimensions", "patchBorder"):
            name = f"legacy.{name}"
        values[name] = ast.literal_eval(node.value)
    return values, version
