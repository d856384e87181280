"""Frames of a camera that nothing is known about yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
from numpy.typing import NDArray

from prompt_processing.instruments.errors import RawFileError
from prompt_processing.instruments.header_files import holds_image, plain_header

__all__ = ["Frame", "Image", "kind_of", "read_frame"]

_KINDS = (
    ("bias", ("bias", "zero")),
    ("dark", ("dark",)),
    ("flat", ("flat",)),
    ("fringe", ("fringe",)),
    ("science", ("light", "object", "science", "expos", "target", "sky", "std")),
)
"""Kinds of frames, by what the text of a header contains."""

TYPE_KEYWORDS = ("IMAGETYP", "IMAGTYP", "IMGTYPE", "OBSTYPE", "OBS_TYPE", "OBS-TYPE", "DATA-TYP", "FRAMETYP")


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """One image of a file.

    Attributes
    ----------
    hdu
        Number of the HDU.
    header
        Its keywords.
    width, height
        Size, pixels.
    pixel_type
        ``uint16``, ``int16``, ``int32`` or ``float32``, as read.
    """

    hdu: int
    header: Mapping[str, Any]
    width: int
    height: int
    pixel_type: str


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One file.

    Attributes
    ----------
    path
        The file.
    primary
        Keywords of the primary HDU.
    comments
        Comments of its cards, by keyword.
    images
        Its two-dimensional images.
    compressed
        Whether they are tile-compressed.
    """

    path: Path
    primary: Mapping[str, Any]
    images: Sequence[Image]
    compressed: bool
    comments: Mapping[str, str] = field(default_factory=dict)

    @property
    def header(self) -> dict[str, Any]:
        """Keywords of the primary HDU and of the first image, which take precedence."""
        return {**self.primary, **self.images[0].header}

    @property
    def kind(self) -> str | None:
        """Kind of the frame; `None` if the header does not say."""
        return kind_of(self.header)

    def pixels(self, image: Image) -> NDArray[np.float64]:
        """Read the pixels of an image, ADU.

        Raises
        ------
        RawFileError
            Raised if the file is truncated.
        """
        try:
            with fitsio.FITS(str(self.path)) as fits:
                return np.asarray(fits[image.hdu].read(), np.float64)
        except (OSError, ValueError) as error:
            raise RawFileError(str(self.path), f"unreadable or truncated: {error}") from error


def kind_of(header: Mapping[str, Any]) -> str | None:
    """Return the kind of a frame: bias, dark, flat, fringe or science; `None` if the header does not say."""
    for keyword in TYPE_KEYWORDS:
        if isinstance(value := header.get(keyword), str):
            return kind_named(value)
    return None


def kind_named(text: str) -> str | None:
    """Return the kind of frame that a text means, or `None`."""
    lower = text.lower()
    return next((kind for kind, words in _KINDS if any(word in lower for word in words)), None)


def read_frame(path: Path) -> Frame:
    """Read the headers of a file.

    Raises
    ------
    RawFileError
        Raised if the file is unreadable or has no image of two axes.
    """
    try:
        with fitsio.FITS(str(path)) as fits:
            written = fits[0].read_header()
            primary = plain_header(written)
            images = []
            compressed = False
            for number, hdu in enumerate(fits):
                if not holds_image(hdu):
                    continue
                header = primary if number == 0 else plain_header(hdu.read_header())
                compressed = (
                    compressed or bool(hdu.is_compressed()) if hasattr(hdu, "is_compressed") else compressed
                )
                height, width = (int(size) for size in hdu.get_info()["dims"])
                if min(height, width) > 1:
                    images.append(Image(number, header, width, height, _pixel_type(header)))
            comments = {
                record["name"]: str(record.get("comment", ""))
                for record in written.records()
                if record.get("name")
            }
    except (OSError, ValueError) as error:
        lines = str(error).strip().splitlines()
        raise RawFileError(str(path), f"unreadable: {lines[-1] if lines else error!r}") from error
    if not images:
        raise RawFileError(
            str(path), "it has no image of two axes; colour images (NAXIS = 3) are not raws of a detector."
        )
    return Frame(path, primary, images, compressed, comments)


def _pixel_type(header: Mapping[str, Any]) -> str:
    bits = header.get("ZBITPIX", header.get("BITPIX", 16))
    if header.get("BSCALE", 1) != 1 or header.get("BZERO", 0) not in (0, 32768):
        return "float32"
    if bits == 16:
        return "uint16" if header.get("BZERO", 0) == 32768 else "int16"
    return "float32" if bits < 0 else "int32"
