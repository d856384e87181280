"""Raw images as read by the camera: segments with their overscans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fitsio
from numpy.typing import NDArray

from .description.registry import load_instrument
from .errors import HeaderError, RawFileError
from .focal_plane import Amplifier
from .header_files import header_identity, holds_image, instrument_of_header, merged_header, plain_header

Section = tuple[slice, slice]
"""Rows and columns of an array."""


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """Pixels of one amplifier, in readout order.

    Attributes
    ----------
    name
        Name of the amplifier.
    data : `~numpy.ndarray` of int32 or uint16, shape (height, width)
        ADU, with all prescans and overscans, in the order prescan, data and
        overscan along both rows and columns.
    data_section, serial_overscan, parallel_overscan
        Parts of `data`: pixels of the sky, overscan of their rows, and
        overscan of their columns.
    flip_x, flip_y
        Whether the data are reversed with respect to the assembled image.
    x0, y0
        Lower left pixel of the data in the assembled image.
    """

    name: str
    data: NDArray[Any]
    data_section: Section
    serial_overscan: Section
    parallel_overscan: Section
    flip_x: bool
    flip_y: bool
    x0: int
    y0: int

    @classmethod
    def of(cls, amplifier: Amplifier, data: NDArray[Any]) -> Segment:
        """Make the segment of an amplifier.

        Parameters
        ----------
        amplifier
            Amplifier, which defines the layout.
        data : `~numpy.ndarray`, shape ``amplifier.raw_shape``
            ADU, in readout order.
        """
        height, width = amplifier.raw_shape
        if data.shape != (height, width):
            raise ValueError(f"{amplifier.name} reads {(height, width)} pixels, not {data.shape}.")
        rows, columns = amplifier.data_slices
        return cls(
            name=amplifier.name,
            data=data,
            data_section=(rows, columns),
            serial_overscan=(rows, slice(columns.stop, width)),
            parallel_overscan=(slice(rows.stop, height), columns),
            flip_x=amplifier.flip_x,
            flip_y=amplifier.flip_y,
            x0=amplifier.x0,
            y0=amplifier.y0,
        )

    @property
    def target(self) -> Section:
        """Rows and columns of the data in the assembled image."""
        rows, columns = self.data_section
        return (
            slice(self.y0, self.y0 + rows.stop - rows.start),
            slice(self.x0, self.x0 + columns.stop - columns.start),
        )

    def oriented(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return a view of an array of the data section's shape, oriented as in the assembled image."""
        return values[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]


@dataclass(frozen=True, slots=True, eq=False)
class RawFrame:
    """One detector's raw image.

    Attributes
    ----------
    header
        Keywords of the primary HDU and of the first segment, merged.
    instrument
        Short name.
    detector
        Id.
    segments
        In the order of the file.
    """

    header: dict[str, Any]
    instrument: str
    detector: int
    segments: tuple[Segment, ...] = field(repr=False)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the assembled image, pixels."""
        targets = [segment.target for segment in self.segments]
        return max(rows.stop for rows, _ in targets), max(columns.stop for _, columns in targets)


def read_raw(path: str | Path, *, instrument: str | None = None, detector: int | None = None) -> RawFrame:
    """Read a raw image.

    Parameters
    ----------
    path
        A local FITS file, tile-compressed or not.
    instrument
        Short name of the expected instrument.
    detector
        Id of the expected detector; needed for a file with several.

    Raises
    ------
    RawFileError
        Raised if the file is unreadable, truncated or incomplete, or from another
        instrument or detector.
    HeaderError
        Raised if the header lacks the position of a segment.
    """
    # Imported late: the forms of files know this module.
    from .raw_forms import cut_image

    source = str(path)
    try:
        with fitsio.FITS(source) as fits:
            primary = plain_header(fits[0].read_header())
            numbers = [number for number, hdu in enumerate(fits) if holds_image(hdu)]
            if not numbers:
                raise RawFileError(source, "the file has no image.")
            as_written = {number: fits[number].read_header() for number in numbers}
            headers = {
                number: primary if number == 0 else plain_header(each) for number, each in as_written.items()
            }
            numbers, found, header = _images_of(source, primary, headers, detector)
            for what, wanted, got in (
                ("instrument", instrument, found[0]),
                ("detector", detector, found[1]),
            ):
                if wanted is not None and wanted != got:
                    raise RawFileError(source, f"it is from {what} {got}, not {wanted}.")
            images = _read_images(source, fits, numbers, [as_written[number] for number in numbers])
    except (OSError, ValueError) as error:
        # ValueError: bytes in a header that are not text, or invalid sizes.
        raise RawFileError(source, f"unreadable or truncated: {_first_line(error)}") from error
    described = load_instrument(found[0])
    segments, shape = cut_image(
        described, found[1], images, header, [headers[number] for number in numbers], source
    )
    frame = RawFrame(header, found[0], found[1], segments)
    height, width = shape or frame.shape
    covered = sum(
        (rows.stop - rows.start) * (columns.stop - columns.start)
        for rows, columns in (segment.target for segment in segments)
    )
    if covered != height * width or any(segment.x0 < 0 or segment.y0 < 0 for segment in segments):
        raise RawFileError(
            source, f"{len(segments)} segments cover {covered} of the detector's {height * width} pixels."
        )
    return frame


def _images_of(
    source: str, primary: dict[str, Any], headers: Mapping[int, dict[str, Any]], detector: int | None
) -> tuple[list[int], tuple[str, int], dict[str, Any]]:
    """Return the numbers of a detector's images, instrument and detector, and the merged header."""
    numbers = list(headers)
    first = merged_header(primary, headers[numbers[0]]) if numbers[0] else primary
    if load_instrument(instrument_of_header(first, source)).document.raw.layout != "sections":
        return numbers, header_identity(first, source), first
    by_detector: dict[int, list[int]] = {}
    merged: dict[int, dict[str, Any]] = {}
    problem: HeaderError | None = None
    for number in numbers:
        header = merged_header(primary, headers[number])
        try:
            found = header_identity(header, source)
        except HeaderError as error:
            # An image of a guider, or of a detector that the description does not have.
            problem = problem or error
            continue
        by_detector.setdefault(found[1], []).append(number)
        merged.setdefault(found[1], header)
    if not by_detector and problem is not None:
        raise problem
    if detector is None and len(by_detector) > 1:
        listed = ", ".join(map(str, sorted(by_detector)))
        raise RawFileError(source, f"it holds detectors {listed}; one of them must be named.")
    wanted = next(iter(by_detector)) if detector not in by_detector else detector
    name = instrument_of_header(merged[wanted], source)
    return by_detector[wanted], (name, wanted), merged[wanted]


def _read_images(
    source: str, fits: Any, numbers: Sequence[int], headers: Sequence[Mapping[str, Any]]
) -> list[NDArray[Any]]:
    # Imported late: Numba takes half a second, which programs that read no pixels should not spend.
    from .rice import is_row_compressed, read_row_compressed

    if Path(source).suffix != ".gz" and all(is_row_compressed(header) for header in headers):
        starts = [int(fits[number].get_offsets()["data_start"]) for number in numbers]
        return list(read_row_compressed(source, list(zip(headers, starts, strict=True))))
    return [_without_unit_axes(fits[number].read()) for number in numbers]


def _without_unit_axes(image: NDArray[Any]) -> NDArray[Any]:
    return image.reshape(image.shape[-2:])


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
