"""Read an image's pixels, or report that they are truncated or damaged."""

from __future__ import annotations

import logging
import os
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ..errors import UnreadableImageError
from .files import axes_of, long_axes
from .header import number

_LOG = logging.getLogger(__name__)

_SCALING = ("BSCALE", "BZERO", "BLANK")


def pixels(hdu: Any, name: str, plane: int | None = None) -> NDArray[Any]:
    """Read the two-dimensional data of an HDU.

    Parameters
    ----------
    hdu : `~astropy.io.fits.ImageHDU`
        HDU from `find_image`.
    name : `str`
        File and extension, for messages.
    plane : `int` or `None`
        Plane of a cube, from 1.

    Returns
    -------
    data : `~numpy.ndarray`, shape (height, width)
        Pixels, without axes of length 1.

    Raises
    ------
    UnreadableImageError
        Raised if the data are truncated, or for a cube without ``plane``.
    """
    axes = long_axes(hdu)
    lengths = axes_of(hdu)
    if len(axes) > 2:
        depth = int(np.prod([lengths[axis - 1] for axis in axes[2:]]))
        if plane is None or not 1 <= plane <= depth:
            asked = "" if plane is None else f" --plane {plane} is not in it:"
            raise UnreadableImageError(
                f"{name} is a cube of {' x '.join(map(str, lengths))} pixels;{asked} choose one of its "
                f"{depth} planes with --plane N, N from 1 to {depth}."
            )
    elif plane not in (None, 1):
        raise UnreadableImageError(f"{name} is a single image: --plane {plane} is not in it.")
    _check_complete(hdu, name)
    data = _scaled_by_text(hdu) if any(isinstance(hdu.header.get(k), str) for k in _SCALING) else hdu.data
    if data is None:
        raise UnreadableImageError(f"{name} has no pixels.")
    if len(axes) > 2:
        height, width = lengths[axes[1] - 1], lengths[axes[0] - 1]
        # In memory the last axis of the file is the first.
        stored = sorted(axes, reverse=True)
        order = [stored.index(axis) for axis in (*sorted(axes[2:], reverse=True), axes[1], axes[0])]
        cube = data.reshape([lengths[axis - 1] for axis in stored]).transpose(order)
        data = cube.reshape(-1, height, width)[(plane or 1) - 1]
    else:
        kept = axes if len(axes) == 2 else [1, 2]
        data = data.reshape(lengths[kept[1] - 1], lengths[kept[0] - 1])
    return np.asarray(data)


def _scaled_by_text(hdu: Any) -> NDArray[np.float64] | None:
    """Return the pixels of an image whose scale factors are written as text, which astropy cannot apply."""
    factors = [number(hdu.header.get(keyword)) for keyword in _SCALING]
    start = hdu.fileinfo()["hdrLoc"]
    with fits.open(hdu.fileinfo()["file"].name, memmap=False, do_not_scale_image_data=True) as raw:
        data = next((other.data for other in raw if other.fileinfo()["hdrLoc"] == start), None)
    if data is None:
        return None
    values = np.asarray(data, np.float64)
    if factors[2] is not None:
        values[data == factors[2]] = np.nan
    return values * (1.0 if factors[0] is None else factors[0]) + (factors[1] or 0.0)


def _check_complete(hdu: Any, name: str) -> None:
    """Refuse an image whose file ends before its last pixel, and warn about one that was changed or damaged.

    Missing padding is accepted.
    """
    # For a compressed image, the size of the stored table counts.
    stored = getattr(hdu, "_bintable", None) or hdu
    stream, offset = getattr(stored, "_file", None), getattr(stored, "_data_offset", None)
    if stream is None or offset is None or stream.compression not in (None, ""):
        return
    wanted, size = offset + stored.size, os.path.getsize(stream.name)
    if wanted > size:
        share = max(size - offset, 0) / max(stored.size, 1)
        raise UnreadableImageError(
            f"{name} is truncated: the file has {size} of {wanted} bytes, {share:.0%} of the image's pixels."
        )
    said = str(stored.header.get("DATASUM", "")).strip()
    if said.isdigit() and int(said) != _datasum(stream.name, offset, stored.size):
        _LOG.warning(
            "%s: the pixels do not agree with DATASUM: they are damaged, or it was not updated.",
            name,
        )


def _datasum(path: str, offset: int, size: int) -> int:
    """Return the FITS checksum of a data unit: the ones' complement sum of its 32-bit words."""
    total = 0
    with open(path, "rb") as stream:
        stream.seek(offset)
        while size > 0 and (block := stream.read(min(size, 1 << 24))):
            size -= len(block)
            words = np.frombuffer(block.ljust(-(-len(block) // 4) * 4, b"\0"), ">u4")
            total += int(words.sum(dtype=np.uint64))
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total
