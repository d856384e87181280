"""Find the requested image in a FITS file, or say in one sentence why the file has none."""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from astropy import log as astropy_log
from astropy.io import fits

from ..errors import DifferenceError, UnreadableImageError
from .damage import damage

_LOG = logging.getLogger(__name__)

IMAGE_NAMES = ("SCI", "IMAGE", "DATA", "DIFFERENCE")
"""Extension names of science images."""

VARIANCE_NAMES = ("VARIANCE", "VAR", "STAT")
SIGMA_NAMES = (
    "ERR", "ERROR", "UNCERT", "SIGMA", "RMS", "NOISE", "ERRORS", "UNC", "UNCERTAINTY", "STD", "STDDEV",
)  # fmt: skip
INVERSE_VARIANCE_NAMES = ("IVAR", "INVVAR", "INVERSE_VARIANCE")
WEIGHT_NAMES = ("WEIGHT", "WHT", "WGT", "WEIGHTS", "WEIGHTMAP", "WEIGHT_MAP")
MASK_NAMES = (
    "MASK", "DQ", "FLAGS", "FLAG", "FLG", "BPM", "BADPIX", "QUALITY", "MSK", "DATA_QUALITY", "BAD_PIXEL_MASK",
    "BADPIXELMASK", "BADPIXMASK", "BPMASK", "BADPIXELS", "BAD_PIXELS", "PIXELMASK", "PIXEL_MASK",
)  # fmt: skip
"""Extension names that cameras and pipelines use for the planes beside an image."""

_OTHER_PLANES = (
    "PSF", "KERNEL", "AREA", "CON", "CTX", "EXP", "EXPOSURE", "NPIX", "BKG", "BACKGROUND", "SKY", "MODEL",
    "VAR_POISSON", "VAR_RNOISE", "VAR_FLAT", "D2IMARR", "WCSDVARR", "SAMP", "TIME", "THUMBNAIL", "THUMB",
    "PREVIEW",
)  # fmt: skip
_PLANE = re.compile(r".*(MASK|WEIGHT|WEIGHTS|FLAGS|VARIANCE)")
"""Other names that planes beside an image have, such as ``SATMASK``."""
_MOST_COLOURS = 4
"""Length of a first axis that holds the colours of each pixel, as picture programs write it."""

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
"""Files that are often mistaken for FITS, by their first bytes."""


def split_extension(path: str) -> tuple[str, str | None]:
    """Split ``file.fits[SCI]`` into file and extension; brackets that are part of a file's name stay."""
    match = re.fullmatch(r"(.+)\[([^\[\]]*)\]", path)
    if match is None or os.path.exists(path):
        return path, None
    return match[1], match[2].strip()


@contextmanager
def open_fits(file: str, shown: str | None = None) -> Iterator[fits.HDUList]:
    """Open a FITS file, and report any error while it is open in a sentence about that file.

    Warnings and log messages of astropy are dropped: they concern cards and astropy's own options.

    Parameters
    ----------
    file : `str`
        Path of the file.
    shown : `str`, optional
        Name of the file in messages.

    Raises
    ------
    UnreadableImageError
        Raised if the file is missing, unreadable, damaged or not FITS.
    """
    shown = shown or file
    check_file(file, shown)
    with warnings.catch_warnings(), quiet_astropy():
        warnings.simplefilter("ignore")
        try:
            with fits.open(file, memmap=False) as hdus:
                usable = _undamaged(hdus, shown)
                if usable is None:
                    yield hdus
            if usable is not None:
                # An unreadable header makes astropy close the file.
                with fits.open(file, memmap=False) as hdus:
                    yield fits.HDUList([hdus[i] for i in range(usable)])
        except DifferenceError:
            raise
        except MemoryError as error:
            raise UnreadableImageError(f"{shown} does not fit into memory.") from error
        # Damaged files raise some ten exception classes, several from decompressors, without a common base.
        except Exception as error:
            raise UnreadableImageError(f"{shown} {damage(file, error)}") from error


def _undamaged(hdus: fits.HDUList, shown: str) -> int | None:
    """Return how many HDUs come before the first with a damaged header; `None` if all are sound."""
    read: list[Any] = []
    try:
        while True:
            read.append(hdus[len(read)])
    except IndexError:
        return None
    except (OSError, ValueError, KeyError, TypeError, fits.VerifyError):
        if not any(getattr(hdu, "is_image", False) and axes_of(hdu) for hdu in read):
            raise
    _LOG.warning("%s is damaged after extension %d: the rest is not read.", shown, len(read) - 1)
    return len(read)


@contextmanager
def quiet_astropy() -> Iterator[None]:
    """Silence astropy's logger, which prints to the terminal unasked."""
    level = astropy_log.level
    astropy_log.setLevel("CRITICAL")
    try:
        yield
    finally:
        astropy_log.setLevel(level)


def check_file(file: str, shown: str) -> None:
    """Refuse a file that is missing, unreadable, or plainly neither FITS nor a table.

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
    if re.match(rb"SIMPLE *= *F\b", start):
        raise UnreadableImageError(
            f"{shown} declares that it is not standard FITS (SIMPLE = F). If its pixels are as BITPIX and "
            "NAXIS say, write SIMPLE = T."
        )


def find_image(hdus: fits.HDUList, file: str, extension: str | None, plane: int | None = None) -> Any:
    """Return the requested HDU, or the only candidate.

    Parameters
    ----------
    hdus : `~astropy.io.fits.HDUList`
        The open file.
    file : `str`
        Name of the file, for messages.
    extension : `str` or `None`
        Name, number, or ``NAME,EXTVER``.
    plane : `int` or `None`
        Plane of a cube, from 1; with it, cubes are images too.

    Raises
    ------
    UnreadableImageError
        Raised if the extension is missing or not an image, or if the choice is ambiguous.
    """
    contents = _contents(hdus)
    if extension is not None:
        hdu = _extension(hdus, file, extension, contents)
        if not getattr(hdu, "is_image", False):
            raise UnreadableImageError(f"{file}[{extension}] is a table, not an image. {contents}")
        if not axes_of(hdu):
            raise UnreadableImageError(f"{file}[{extension}] has no pixels. {contents}")
        if len(long_axes(hdu)) < 2:
            raise UnreadableImageError(
                f"{file}[{extension}] has only one axis: it is not an image. {contents}"
            )
        return hdu
    images = [hdu for hdu in hdus if getattr(hdu, "is_image", False) and len(long_axes(hdu)) >= 2]
    flat = [hdu for hdu in images if len(long_axes(hdu)) == 2]
    planes = {
        *VARIANCE_NAMES, *SIGMA_NAMES, *INVERSE_VARIANCE_NAMES, *WEIGHT_NAMES, *MASK_NAMES, *_OTHER_PLANES,
    }  # fmt: skip
    usable = images if plane is not None or not flat else flat
    candidates = [
        hdu for hdu in usable
        if (name := hdu.name.rpartition(".")[2]) not in planes and not _PLANE.fullmatch(name)
    ] or usable  # fmt: skip
    named = [hdu for hdu in candidates if hdu.name in IMAGE_NAMES]
    for group in (named, candidates):
        if len(group) == 1:
            return group[0]
    if not candidates:
        raise UnreadableImageError(f"{file} has no two-dimensional image. {contents}")
    raise UnreadableImageError(
        f"{file} has several images; name one of them, as {file}[{_key_of(candidates[0], hdus)}]. {contents}"
    )


def long_axes(hdu: Any) -> list[int]:
    """Return which FITS axes (from 1) are longer than one pixel; an empty axis makes an image empty.

    The first two are the image's width and height; the others are those of a cube. An image of one row or
    column counts both of its axes.
    """
    lengths = axes_of(hdu)
    if len(lengths) == 2:
        return [1, 2]
    axes = [i + 1 for i, length in enumerate(lengths) if length > 1]
    size = [lengths[axis - 1] for axis in axes]
    if len(axes) == 3 and size[0] <= _MOST_COLOURS < min(size[1:]):
        return [axes[1], axes[2], axes[0]]
    return axes


def axes_of(hdu: Any) -> tuple[int, ...]:
    """Return the lengths of the FITS axes; empty for an HDU without pixels."""
    shape = getattr(hdu, "shape", None) or ()
    return () if 0 in shape else tuple(reversed(shape))


def _extension(hdus: fits.HDUList, file: str, extension: str, contents: str) -> Any:
    try:
        return hdus[extension_key(extension)]
    except (KeyError, IndexError) as error:
        raise UnreadableImageError(f"{file} has no extension {extension}. {contents}") from error


def extension_key(text: str) -> int | str | tuple[str, int]:
    """Return astropy's key of an extension, from ``NAME``, ``2`` or ``NAME,2``.

    Raises
    ------
    UnreadableImageError
        Raised if the text has none of these forms.
    """
    name, comma, version = (part.strip() for part in text.partition(","))
    if not name:
        raise UnreadableImageError(f"[{text}] is not an extension; write [NAME], [NUMBER] or [NAME,VERSION].")
    if not comma:
        return int(name) if name.isascii() and name.isdigit() else name
    if not (version.isascii() and version.isdigit()):
        raise UnreadableImageError(
            f"[{text}] is not an extension: the version (EXTVER) after the comma is not a whole number."
        )
    return name, int(version)


def _key_of(hdu: Any, hdus: fits.HDUList) -> str:
    """Return the text in brackets by which a user names an HDU."""
    same = [other for other in hdus if other.name == hdu.name]
    if hdu.name and len(same) == 1:
        return str(hdu.name)
    if hdu.name and len({other.ver for other in same}) == len(same):
        return f"{hdu.name},{hdu.ver}"
    return str(next(i for i, other in enumerate(hdus) if other is hdu))


def _contents(hdus: fits.HDUList, most: int = 12) -> str:
    listed = []
    for index, hdu in enumerate(hdus):
        name = hdu.name or "unnamed"
        if not getattr(hdu, "is_image", False):
            rows = hdu.header.get("NAXIS2", 0)
            listed.append(f"{index} {name} (table of {rows} rows)")
        else:
            lengths = axes_of(hdu)
            listed.append(f"{index} {name} ({' x '.join(map(str, lengths)) if lengths else 'empty'})")
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return f"It has {', '.join(listed[:most])}{more}."
