"""Frames of a camera that nothing is known about yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
from numpy.typing import NDArray

from prompt_processing.instruments.errors import RawFileError
from prompt_processing.instruments.header_files import holds_image, image_shape, plain_header

from .kinds import kind_in_target, kind_named, kinds_in_paths, target_keyword, type_keyword

__all__ = ["Frame", "Image", "read_frame", "read_frames"]


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
        Comments of its cards and of those of the first image, by keyword.
    images
        Its two-dimensional images.
    compressed
        Whether they are tile-compressed.
    kind
        Bias, dark, flat, fringe or science; `None` if the header does not say.
    """

    path: Path
    primary: Mapping[str, Any]
    images: Sequence[Image]
    compressed: bool
    comments: Mapping[str, str] = field(default_factory=dict)
    kind: str | None = None

    @property
    def header(self) -> dict[str, Any]:
        """Keywords of the primary HDU and of the first image, which take precedence."""
        return {**self.primary, **self.images[0].header}

    def pixels(self, image: Image, box: tuple[slice, slice] | None = None) -> NDArray[np.float64]:
        """Read the pixels of an image, or those of some rows and columns, ADU.

        Raises
        ------
        RawFileError
            Raised if the file is truncated.
        """
        try:
            with fitsio.FITS(str(self.path)) as fits:
                hdu = fits[image.hdu]
                if box is not None and hdu.get_info()["ndims"] == 2:
                    return np.asarray(hdu[box], np.float64)
                read = np.asarray(hdu.read(), np.float64)
                return read.reshape(read.shape[-2:])[box or ...]
        except (OSError, ValueError) as error:
            raise RawFileError(str(self.path), f"unreadable or truncated: {error}") from error


def read_frames(paths: Sequence[Path]) -> list[Frame]:
    """Read the headers of several files, and find out together which keyword has the kind.

    Raises
    ------
    RawFileError
        Raised if a file is unreadable or has no image of two axes.
    """
    frames = [read_frame(path) for path in paths]
    headers = [frame.header for frame in frames]
    keyword = type_keyword(headers)
    if keyword is None:
        target = target_keyword(headers)
        if target is None:
            kinds = kinds_in_paths(paths)
            if any(kinds):
                # The other folders have the names of targets.
                kinds = [kind or "science" for kind in kinds]
            return [replace(frame, kind=kind) for frame, kind in zip(frames, kinds, strict=True)]
        return [replace(frame, kind=kind_in_target(frame.header, target)) for frame in frames]
    return [replace(frame, kind=kind_named(str(frame.header.get(keyword, "")))) for frame in frames]


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
            comments = _comments(written)
            images: list[Image] = []
            compressed = False
            for number, hdu in enumerate(fits):
                if not holds_image(hdu):
                    continue
                own = written if number == 0 else hdu.read_header()
                header = plain_header(own)
                compressed = (
                    compressed or bool(hdu.is_compressed()) if hasattr(hdu, "is_compressed") else compressed
                )
                height, width = image_shape(hdu)
                if min(height, width) > 1:
                    comments = comments if images else {**comments, **_comments(own)}
                    images.append(Image(number, header, width, height, _pixel_type(header)))
    except (OSError, ValueError) as error:
        lines = str(error).strip().splitlines()
        raise RawFileError(str(path), f"unreadable: {lines[-1] if lines else error!r}") from error
    if not images:
        raise RawFileError(
            str(path), "it has no image of two axes; colour images (NAXIS = 3) are not raws of a detector."
        )
    return Frame(path, primary, images, compressed, comments)


def _comments(header: Any) -> dict[str, str]:
    return {
        record["name"]: str(record.get("comment", "")) for record in header.records() if record.get("name")
    }


def _pixel_type(header: Mapping[str, Any]) -> str:
    bits = header.get("ZBITPIX", header.get("BITPIX", 16))
    if header.get("BSCALE", 1) != 1 or header.get("BZERO", 0) not in (0, 32768):
        return "float32"
    if bits == 16:
        return "uint16" if header.get("BZERO", 0) == 32768 else "int16"
    return "float32" if bits < 0 else "int32"
