"""Raw images as read by the camera: segments with their overscans."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fitsio
from numpy.typing import NDArray

from .camera import Amplifier
from .errors import HeaderError, RawFileError
from .headers import header_identity, plain_header

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
        Id of the expected detector.

    Raises
    ------
    RawFileError
        Raised if the file is unreadable, truncated or incomplete, or from another
        instrument or detector.
    HeaderError
        Raised if the header lacks the position of a segment.
    """
    source = str(path)
    try:
        with fitsio.FITS(source) as fits:
            primary = plain_header(fits[0].read_header())
            numbers = [number for number, hdu in enumerate(fits) if _holds_image(hdu)]
            if not numbers:
                raise RawFileError(source, "the file has no image.")
            as_written = [fits[number].read_header() for number in numbers]
            headers = [
                primary if number == 0 else plain_header(each)
                for number, each in zip(numbers, as_written, strict=True)
            ]
            header = {**headers[0], **primary} if numbers[0] else primary
            found = header_identity(header, source)
            for what, wanted, got in (
                ("instrument", instrument, found[0]),
                ("detector", detector, found[1]),
            ):
                if wanted is not None and wanted != got:
                    raise RawFileError(source, f"it is from {what} {got}, not {wanted}.")
            images = _read_images(source, fits, numbers, as_written)
    except (OSError, ValueError) as error:
        # ValueError: bytes in a header that are not text, or invalid sizes.
        raise RawFileError(source, f"unreadable or truncated: {_first_line(error)}") from error
    if found[0] == "HSC":
        segments = _cut_channels(images[0], header, source)
    else:
        segments = tuple(
            _lsst_segment(image, segment_header, source)
            for image, segment_header in zip(images, headers, strict=True)
        )
    frame = RawFrame(header, found[0], found[1], segments)
    height, width = frame.shape
    if found[0] != "HSC":
        (_, width), (_, height) = _section(header, "DETSIZE", source)
    covered = sum(
        (rows.stop - rows.start) * (columns.stop - columns.start)
        for rows, columns in (segment.target for segment in segments)
    )
    if covered != height * width or any(segment.x0 < 0 or segment.y0 < 0 for segment in segments):
        raise RawFileError(
            source, f"{len(segments)} segments cover {covered} of the detector's {height * width} pixels."
        )
    return frame


def _holds_image(hdu: Any) -> bool:
    return hdu.get_exttype() in ("IMAGE_HDU", 0) and hdu.get_info()["ndims"] == 2


def _read_images(
    source: str, fits: Any, numbers: Sequence[int], headers: Sequence[Mapping[str, Any]]
) -> list[NDArray[Any]]:
    # Imported late: Numba takes half a second, which programs that read no pixels should not spend.
    from .rice import is_row_compressed, read_row_compressed

    if Path(source).suffix != ".gz" and all(is_row_compressed(header) for header in headers):
        starts = [int(fits[number].get_offsets()["data_start"]) for number in numbers]
        return list(read_row_compressed(source, list(zip(headers, starts, strict=True))))
    return [fits[number].read() for number in numbers]


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


def _lsst_segment(data: NDArray[Any], header: Mapping[str, Any], source: str) -> Segment:
    """Determine a segment's position from its header.

    ``DETSEC`` counts rows from the opposite end of the assembled image, whose
    +y is that of the focal plane (``WCSNAMEF`` in the same headers).
    """
    name = str(header.get("EXTNAME", "")).strip()
    if not re.fullmatch(r"Segment[01][0-7]", name):
        raise HeaderError("EXTNAME", f"{name!r} is not a segment's name.", source)
    (first_column, last_column), (first_row, last_row) = _section(header, "DATASEC", source)
    (x_start, x_end), (y_start, y_end) = _section(header, "DETSEC", source)
    height = max(_section(header, "DETSIZE", source)[1])
    overscan = header.get("OVERH")
    if first_column == 1 and isinstance(overscan, int | float):
        # Until 2022 LATISS counted DATASEC from the end of the prescan.
        prescan = data.shape[1] - int(overscan) - last_column
        first_column, last_column = first_column + prescan, last_column + prescan
    rows, columns = slice(first_row - 1, last_row), slice(first_column - 1, last_column)
    if (
        abs(x_end - x_start) != last_column - first_column
        or abs(y_end - y_start) != last_row - first_row
        or min(first_column, first_row) < 1
        or last_row > data.shape[0]
        or last_column > data.shape[1]
    ):
        raise HeaderError(
            "DATASEC",
            f"{header['DATASEC']} fits neither DETSEC nor the {data.shape} pixels of {name}.",
            source,
        )
    return Segment(
        name=name,
        data=data,
        data_section=(rows, columns),
        serial_overscan=(rows, slice(columns.stop, data.shape[1])),
        parallel_overscan=(slice(rows.stop, data.shape[0]), columns),
        flip_x=x_start > x_end,
        flip_y=y_start < y_end,
        x0=min(x_start, x_end) - 1,
        y0=height - max(y_start, y_end),
    )


def _section(header: Mapping[str, Any], key: str, source: str) -> tuple[tuple[int, int], tuple[int, int]]:
    value = header.get(key)
    match = re.fullmatch(r"\[(\d+):(\d+),(\d+):(\d+)\]", str(value).replace(" ", ""))
    if value is None or match is None:
        raise HeaderError(key, "is missing." if value is None else f"{value!r} is not a section.", source)
    x_start, x_end, y_start, y_end = map(int, match.groups())
    return (x_start, x_end), (y_start, y_end)


def _cut_channels(image: NDArray[Any], header: Mapping[str, Any], source: str) -> tuple[Segment, ...]:
    """Cut an HSC image into its four channels, each in readout order."""

    def limits(kind: str, channel: int, axis: int) -> tuple[int, int]:
        values = []
        for end in ("MN", "MX"):
            key = f"T_{kind}{end}{channel}{axis}"
            value = header.get(key)
            if not isinstance(value, int | float):
                raise HeaderError(key, "is missing.", source)
            values.append(int(value))
        return values[0] - 1, values[1]

    segments = []
    height, width = image.shape
    channel_width, x0 = width // 4, 0
    for channel in range(1, 5):
        left = (channel - 1) * channel_width
        columns = limits("EF", channel, 1)
        rows = limits("EF", channel, 2)
        if not (left <= columns[0] < columns[1] <= left + channel_width and 0 <= rows[0] < rows[1] <= height):
            raise HeaderError(
                f"T_EFMN{channel}1", f"channel {channel} is not within the {image.shape} pixels.", source
            )
        flip_x = limits("OS", channel, 1)[0] < columns[0]
        flip_y = limits("OS", channel, 2)[0] < rows[0]
        data = image[:, left : left + channel_width]
        start, stop = columns[0] - left, columns[1] - left
        if flip_x:
            data, start, stop = data[:, ::-1], channel_width - stop, channel_width - start
        first, last = rows
        if flip_y:
            data, first, last = data[::-1], height - last, height - first
        section = (slice(first, last), slice(start, stop))
        segments.append(
            Segment(
                name=str(channel),
                data=data,
                data_section=section,
                serial_overscan=(section[0], slice(stop, channel_width)),
                parallel_overscan=(slice(last, height), section[1]),
                flip_x=flip_x,
                flip_y=flip_y,
                x0=x0,
                y0=0,
            )
        )
        x0 += stop - start
    return tuple(segments)
