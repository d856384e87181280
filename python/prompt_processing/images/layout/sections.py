"""Read a section of an image without the rest of its file, from a disk or an object store.

Tiles are single rows in the files of this package: the rows of a section are found in the table of the tiles,
and only their bytes are read. Files of others go through astropy, which does the same for their tiles.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any, BinaryIO

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from prompt_processing.images.mask import renumbered
from prompt_processing.images.psf import Psf

from .content import description_of, is_layout, mask_bits, psf_of
from .stored_tiles import has_row_tiles, read_row_tiles

__all__ = ["ImageSections"]

_BLOCK = 2880

Opened = Callable[[], AbstractContextManager[BinaryIO]]


class ImageSections:
    """The planes of an image file, read by section.

    Parameters
    ----------
    opened
        Opens the file for random access; called for each section.

    Raises
    ------
    OSError
        Raised if the file cannot be read, or has no image.
    """

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        with opened() as file:
            self._planes = _planes(file)
            file.seek(0)
            with fits.open(file, memmap=False, lazy_load_hdus=True) as hdus:
                primary = hdus[0].header
                self._bits = mask_bits(description_of(hdus)) if is_layout(primary) else None
                self._header = hdus[self._planes["IMAGE"][2]].header.copy()
        self.primary: fits.Header = primary

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return int(self._header["NAXIS2"]), int(self._header["NAXIS1"])

    @property
    def header(self) -> fits.Header:
        """Header of the image, without the keywords of its compression."""
        return self._header

    @property
    def planes(self) -> tuple[str, ...]:
        """Which of ``IMAGE``, ``MASK`` and ``VARIANCE`` the file has."""
        return tuple(name for name in ("IMAGE", "MASK", "VARIANCE") if name in self._planes)

    @cached_property
    def psf(self) -> Psf | None:
        """PSF of the image; `None` if it has none that can be read.

        Raises
        ------
        OSError
            Raised if the file cannot be reached.
        """
        if not is_layout(self.primary):
            return None
        with self._opened() as file, fits.open(file, memmap=False, lazy_load_hdus=True) as hdus:
            return psf_of(description_of(hdus), hdus, self.shape)

    def read(self, plane: str, rows: slice, columns: slice) -> NDArray[Any]:
        """Read a section.

        Parameters
        ----------
        plane
            One of `planes`.
        rows, columns
            Section, with start and stop inside the image.

        Returns
        -------
        section : `~numpy.ndarray`, shape (number of rows, number of columns)
            Of float32; of a mask, int32 with the bits of `~prompt_processing.images.mask.Mask`.

        Raises
        ------
        OSError
            Raised if the file is damaged or cannot be reached.
        """
        header, start, number = self._planes[plane]
        with self._opened() as file:
            if has_row_tiles(header):
                section = read_row_tiles(file, header, start, rows, columns)
            else:
                with fits.open(file, memmap=False, lazy_load_hdus=True) as hdus:
                    section = np.asarray(hdus[number].section[rows, columns])
        if plane == "MASK":
            mask = section.astype(np.int32)
            return mask if self._bits is None else renumbered(mask, self._bits)
        return section.astype(np.float32, copy=False)


def _planes(file: BinaryIO) -> dict[str, tuple[fits.Header, int, int]]:
    """Return header in the file, address of the data and number of the HDU of each plane."""
    found: dict[str, tuple[fits.Header, int, int]] = {}
    first_image = None
    number = 0
    file.seek(0)
    while True:
        try:
            header = fits.Header.fromfile(file)
        except EOFError:
            break
        start = file.tell()
        name = str(header.get("EXTNAME", "")).strip().upper()
        if name in ("IMAGE", "MASK", "VARIANCE"):
            found.setdefault(name, (header, start, number))
        if (
            first_image is None
            and header.get("ZNAXIS", header["NAXIS"]) == 2
            and header.get("XTENSION") != "BINTABLE"
        ):
            first_image = (header, start, number)
        if len(found) == 3:
            break
        file.seek(start + _padded_size(header))
        number += 1
    if "IMAGE" not in found:
        if first_image is None:
            raise OSError("The file has no image.")
        found["IMAGE"] = first_image
    return found


def _padded_size(header: fits.Header) -> int:
    n_axes = int(header["NAXIS"])
    if n_axes == 0:
        return 0
    pixels = int(np.prod([int(header[f"NAXIS{axis}"]) for axis in range(1, n_axes + 1)]))
    size = (
        abs(int(header["BITPIX"]))
        // 8
        * (pixels + int(header.get("PCOUNT", 0)))
        * int(header.get("GCOUNT", 1))
    )
    return -(-size // _BLOCK) * _BLOCK
