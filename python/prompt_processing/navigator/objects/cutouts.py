"""Cutouts of a source at one epoch, as pictures in the page."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from prompt_processing.alerts.reading import CUTOUTS

from ..detector.data import load_detector
from ..detector.pixels import Region
from ..detector.stretch import limits
from ..sources import Sources

__all__ = ["as_png", "cutouts_of_images", "cutouts_of_packet", "picture"]

_HALF = 20
_SCALE = 3


def cutouts_of_packet(alert: Mapping[str, Any]) -> dict[str, NDArray[np.float32]]:
    """Return the cutouts of an alert by their role, such as ``science``; unreadable ones are left out."""
    found = {}
    for name in CUTOUTS:
        content = alert.get(name)
        content = content.get("stampData") if isinstance(content, Mapping) else content
        if not isinstance(content, bytes):
            continue
        try:
            with fits.open(io.BytesIO(content), memmap=False) as hdus:
                data = next((hdu.data for hdu in hdus if hdu.data is not None and hdu.data.ndim == 2), None)
        except (OSError, ValueError, TypeError):
            continue
        if data is not None:
            found[name.removeprefix("cutout").lower()] = np.asarray(data, np.float32)
    return found


def cutouts_of_images(
    sources: Sources, visit: int, detector: int, x: float, y: float
) -> dict[str, NDArray[np.float32]]:
    """Return cutouts of the images in the repository."""
    data = load_detector(sources, "", visit, detector, catalogues=False)
    column, row = round(x), round(y)
    region = Region(column - _HALF, column + _HALF, row - _HALF, row + _HALF)
    return {role: image.tile(region, 4 * _HALF).values for role, image in data.images.items()}


def picture(image: NDArray[Any], text: str, *, symmetric: bool = False) -> str:
    """Return an image as HTML.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (rows, columns)
        The first row is the lowest.
    text
        Description, already escaped.
    symmetric
        Whether zero is the middle grey.
    """
    low, high = limits(image, "99.5%", symmetric=symmetric)
    grey = np.nan_to_num((image - low) / (high - low), nan=0.0)
    content = base64.b64encode(as_png(np.round(255 * np.clip(grey, 0, 1)).astype(np.uint8)[::-1])).decode(
        "ascii"
    )
    rows, columns = image.shape
    return (
        f'<img alt="{text}" title="{text}" width="{_SCALE * columns}" height="{_SCALE * rows}" '
        f'style="image-rendering: pixelated" src="data:image/png;base64,{content}">'
    )


def as_png(grey: NDArray[np.uint8]) -> bytes:
    """Return a grey image, shape (rows, columns), first row uppermost, as a PNG file."""
    rows, columns = grey.shape
    lines = np.zeros((rows, columns + 1), np.uint8)
    lines[:, 1:] = grey
    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )
