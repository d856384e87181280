"""Find the image that is meant in a FITS file, and say in one sentence why there is none."""

from __future__ import annotations

import bz2
import gzip
import logging
import lzma
import os
import re
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from astropy import log as astropy_log
from astropy.io import fits
from numpy.typing import NDArray

from .errors import DifferenceError, UnreadableImageError

_LOG = logging.getLogger(__name__)

IMAGE_NAMES = ("SCI", "IMAGE", "DATA", "DIFFERENCE")
"""Extension names of what a telescope saw."""

VARIANCE_NAMES = ("VARIANCE", "VAR", "STAT")
SIGMA_NAMES = ("ERR", "ERROR", "UNCERT", "SIGMA", "RMS", "NOISE")
INVERSE_VARIANCE_NAMES = ("IVAR", "INVVAR")
WEIGHT_NAMES = ("WEIGHT", "WHT", "WGT")
MASK_NAMES = ("MASK", "DQ", "FLAGS", "FLAG", "FLG", "BPM", "BADPIX", "QUALITY")
"""Extension names that cameras and pipelines give to the planes beside an image."""

_OTHER_PLANES = (
    "PSF", "KERNEL", "AREA", "CON", "CTX", "EXP", "EXPOSURE", "NPIX", "BKG", "BACKGROUND", "SKY", "MODEL",
    "VAR_POISSON", "VAR_RNOISE", "VAR_FLAT", "D2IMARR", "WCSDVARR", "SAMP", "TIME", "THUMBNAIL", "PREVIEW",
)  # fmt: skip

_SIGNATURES = (
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x89PNG", "a PNG picture"),
    (b"XISF0100", "an XISF file; save it as FITS"),
    (b"II*\0", "a TIFF or camera raw file; save it as FITS"),
    (b"MM\0*", "a TIFF or camera raw file; save it as FITS"),
    (b"#ASDF", "an ASDF file; save it as FITS"),
    (b"\x89HDF", "an HDF5 file"),
    (b"<!DOCTYPE", "a web page: the download failed"),
    (b"<!doctype", "a web page: the download failed"),
    (b"<html", "a web page: the download failed"),
    (b"<?xml", "an XML document: the download may have failed"),
    (b"\x1f\x9d", "a file packed by compress (.Z); unpack it first"),
    (b"version https://git-lfs", "a Git LFS pointer: the image itself was not downloaded"),
)
"""What people mistake for FITS, by its first bytes."""


def split_extension(path: str) -> tuple[str, str | None]:
    """Split ``file.fits[SCI]`` into file and extension; brackets that are part of a file's name stay."""
    match = re.fullmatch(r"(.+)\[([^\[\]]*)\]", path)
    if match is None or os.path.exists(path):
        return path, None
    return match[1], match[2].strip()


@contextmanager
def open_fits(file: str, shown: str | None = None) -> Iterator[fits.HDUList]:
    """Open a FITS file; whatever goes wrong while it is open is reported in a sentence about that file.

    Warnings and log messages of astropy are dropped: they speak of cards and of astropy's own options.

    Parameters
    ----------
    file : `str`
        Its path.
    shown : `str`, optional
        Its name in messages.

    Raises
    ------
    UnreadableImageError
        Raised if the file is missing, unreadable, damaged or something else than FITS.
    """
    shown = shown or file
    check_file(file, shown)
    with warnings.catch_warnings(), quiet_astropy():
        warnings.simplefilter("ignore")
        try:
            with fits.open(file, memmap=False, ignore_missing_simple=False) as hdus:
                yield hdus
        except DifferenceError:
            raise
        except EOFError as error:
            raise UnreadableImageError(f"{shown} is truncated: its compressed data end too early.") from error
        except MemoryError as error:
            raise UnreadableImageError(f"{shown} does not fit into memory.") from error
        # Damaged files raise some ten classes, several from the decompressors, without a common base.
        except Exception as error:
            raise UnreadableImageError(f"{shown} {_reason(file, error)}") from error


@contextmanager
def quiet_astropy() -> Iterator[None]:
    """Silence astropy's logger, which prints to the terminal by itself."""
    level = astropy_log.level
    astropy_log.setLevel("CRITICAL")
    try:
        yield
    finally:
        astropy_log.setLevel(level)


def check_file(file: str, shown: str) -> None:
    """Refuse a file that is not there, cannot be read, or is plainly something else than FITS or a table.

    Raises
    ------
    UnreadableImageError
        Raised with ``shown``, the file's name for the user, and what is wrong.
    """
    path = Path(file)
    if not os.path.exists(path):
        raise UnreadableImageError(f"{shown}: there is no such file.")
    if path.is_dir():
        raise UnreadableImageError(f"{shown} is a folder; name the FITS file in it.")
    try:
        with path.open("rb") as stream:
            start = stream.read(64).lstrip()
    except OSError as error:
        raise UnreadableImageError(f"{shown} cannot be read: {error.strerror}.") from error
    if path.is_file() and path.stat().st_size == 0:
        raise UnreadableImageError(f"{shown} is empty (0 bytes).")
    for signature, what in _SIGNATURES:
        if start.startswith(signature):
            raise UnreadableImageError(f"{shown} is not a FITS image but {what}.")


def _reason(file: str, error: Exception) -> str:
    """Return what an exception of astropy means, to follow the file's name."""
    text = " ".join(str(error).split()).rstrip(".")
    if _ends_early(file):
        return "is truncated: its compressed data end too early."
    if "SIMPLE" in text or "does not appear to be" in text:
        with Path(file).open("rb") as stream:
            fits_like = stream.read(9) in (b"SIMPLE  =", b"XTENSION=")
        return (
            "is not a FITS image: its first card is not SIMPLE." if not fits_like else f"is damaged: {text}."
        )
    if "missing END" in text or "Empty or corrupt" in text:
        return "is not a FITS image, or its header is damaged: the END card is missing."
    if isinstance(error, zlib.error) or "CRC" in text or "gzip" in text.lower():
        return f"is damaged: its compressed data cannot be decompressed ({text})."
    return f"is damaged, or not a FITS image ({type(error).__name__}: {text})."


def find_image(hdus: fits.HDUList, file: str, extension: str | None, plane: int | None = None) -> Any:
    """Return the HDU that was asked for, or the only one that can be meant.

    Parameters
    ----------
    hdus : `~astropy.io.fits.HDUList`
        The open file.
    file : `str`
        Its name, for messages.
    extension : `str` or `None`
        Name, number, or ``NAME,EXTVER``.
    plane : `int` or `None`
        Plane of a cube, from 1; with it, cubes are images too.

    Raises
    ------
    UnreadableImageError
        Raised if there is no such extension, if it is no image, or if several images may be meant.
    """
    contents = _contents(hdus)
    if extension is not None:
        hdu = _extension(hdus, file, extension, contents)
        if not getattr(hdu, "is_image", False):
            raise UnreadableImageError(f"{file}[{extension}] is a table, not an image. {contents}")
        if not _axes(hdu):
            raise UnreadableImageError(f"{file}[{extension}] has no pixels. {contents}")
        if len(long_axes(hdu)) < 2:
            raise UnreadableImageError(f"{file}[{extension}] has one axis only: it is no image. {contents}")
        return hdu
    images = [hdu for hdu in hdus if getattr(hdu, "is_image", False) and len(long_axes(hdu)) >= 2]
    flat = [hdu for hdu in images if len(long_axes(hdu)) == 2]
    planes = {
        *VARIANCE_NAMES, *SIGMA_NAMES, *INVERSE_VARIANCE_NAMES, *WEIGHT_NAMES, *MASK_NAMES, *_OTHER_PLANES,
    }  # fmt: skip
    usable = images if plane is not None or not flat else flat
    candidates = [hdu for hdu in usable if hdu.name.rpartition(".")[2] not in planes] or usable
    named = [hdu for hdu in candidates if hdu.name in IMAGE_NAMES]
    for group in (named, candidates):
        if len(group) == 1:
            return group[0]
    if not candidates:
        raise UnreadableImageError(f"{file} has no two-dimensional image. {contents}")
    raise UnreadableImageError(
        f"{file} has several images; name the one that is meant, as {file}[{_key_of(candidates[0], hdus)}]. "
        f"{contents}"
    )


def long_axes(hdu: Any) -> list[int]:
    """Return which FITS axes (from 1) are longer than one pixel; an empty axis makes an image empty.

    An image of one row or column counts both of its axes.
    """
    lengths = _axes(hdu)
    return [i + 1 for i, length in enumerate(lengths) if length > 1] if len(lengths) != 2 else [1, 2]


def _axes(hdu: Any) -> tuple[int, ...]:
    """Return the lengths of the FITS axes; empty where there are no pixels."""
    shape = getattr(hdu, "shape", None) or ()
    return () if 0 in shape else tuple(reversed(shape))


def _extension(hdus: fits.HDUList, file: str, extension: str, contents: str) -> Any:
    try:
        return hdus[extension_key(extension)]
    except (KeyError, IndexError) as error:
        raise UnreadableImageError(f"{file} has no extension {extension}. {contents}") from error


def extension_key(text: str) -> int | str | tuple[str, int]:
    """Return what astropy finds an extension by, from ``NAME``, ``2`` or ``NAME,2``.

    Raises
    ------
    UnreadableImageError
        Raised if it is none of these.
    """
    name, comma, version = (part.strip() for part in text.partition(","))
    if not name:
        raise UnreadableImageError(f"[{text}] names no extension; write [NAME], [NUMBER] or [NAME,VERSION].")
    if not comma:
        return int(name) if name.isascii() and name.isdigit() else name
    if not (version.isascii() and version.isdigit()):
        raise UnreadableImageError(
            f"[{text}] is no extension: what follows the comma is the version (EXTVER), a whole number."
        )
    return name, int(version)


def _key_of(hdu: Any, hdus: fits.HDUList) -> str:
    """Return what a user writes in brackets for an HDU."""
    same = [other for other in hdus if other.name == hdu.name]
    if hdu.name and len(same) == 1:
        return str(hdu.name)
    if hdu.name and len({other.ver for other in same}) == len(same):
        return f"{hdu.name},{hdu.ver}"
    return str(next(i for i, other in enumerate(hdus) if other is hdu))


def _contents(hdus: fits.HDUList, most: int = 12) -> str:
    listed = []
    for number, hdu in enumerate(hdus):
        name = hdu.name or "unnamed"
        if not getattr(hdu, "is_image", False):
            rows = hdu.header.get("NAXIS2", 0)
            listed.append(f"{number} {name} (table of {rows} rows)")
        else:
            lengths = _axes(hdu)
            listed.append(f"{number} {name} ({' x '.join(map(str, lengths)) if lengths else 'empty'})")
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return f"It has {', '.join(listed[:most])}{more}."


def pixels(hdu: Any, name: str, plane: int | None = None) -> NDArray[Any]:
    """Read the two-dimensional data of an HDU.

    Parameters
    ----------
    hdu : `~astropy.io.fits.ImageHDU`
        As from `find_image`.
    name : `str`
        File and extension, for messages.
    plane : `int` or `None`
        Which plane of a cube, from 1.

    Returns
    -------
    data : `~numpy.ndarray`, shape (height, width)
        Axes of length 1 are gone.

    Raises
    ------
    UnreadableImageError
        Raised if the data are truncated, or for a cube without ``plane``.
    """
    axes = long_axes(hdu)
    lengths = _axes(hdu)
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
    data = hdu.data
    if data is None:
        raise UnreadableImageError(f"{name} has no pixels.")
    if len(axes) > 2:
        height, width = lengths[axes[1] - 1], lengths[axes[0] - 1]
        data = data.reshape(-1, height, width)[(plane or 1) - 1]
    else:
        kept = axes if len(axes) == 2 else [1, 2]
        data = data.reshape(lengths[kept[1] - 1], lengths[kept[0] - 1])
    return np.asarray(data)


def _check_complete(hdu: Any, name: str) -> None:
    """Refuse an image whose file ends before its last pixel, and warn of one that was changed or damaged.

    Missing padding does no harm.
    """
    # Of a compressed image the table that is in the file counts.
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
            "%s: the pixels do not agree with DATASUM: they were damaged, or changed without its update.",
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


def _ends_early(file: str) -> bool:
    """Return whether a packed file ends before its contents do."""
    openers: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}
    with open(file, "rb") as stream:
        opener = openers.get(stream.read(2))
    if opener is None:
        return False
    try:
        with opener(file) as stream:
            while stream.read(1 << 20):
                pass
    except EOFError:
        return True
    except (OSError, ValueError, zlib.error, lzma.LZMAError):
        return False
    return False
