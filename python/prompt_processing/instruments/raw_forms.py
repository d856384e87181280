"""Forms of raw files: where each amplifier's pixels are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .description.document import AmplifierDocument
from .description.instrument import Instrument
from .description.sections import AmplifierPlace, places_of
from .errors import HeaderError, RawFileError
from .raw_frame import Segment

__all__ = ["cut_image"]

_SECTION = re.compile(r"\[(\d+):(\d+),(\d+):(\d+)\]")


def cut_image(
    instrument: Instrument,
    detector: int,
    images: Sequence[NDArray[Any]],
    header: Mapping[str, Any],
    image_headers: Sequence[Mapping[str, Any]],
    source: str,
) -> tuple[tuple[Segment, ...], tuple[int, int] | None]:
    """Cut the images of a detector into the segments of its amplifiers.

    Parameters
    ----------
    instrument
        Instrument, whose description says which form its files have.
    detector
        Id of the detector.
    images
        Its images, in the order of the file.
    header
        Merged keywords.
    image_headers
        Keywords of each image.
    source
        The file, for messages.

    Returns
    -------
    segments
        Segments, in the order of the file.
    shape
        Height and width of the assembled image according to the header; `None` if it does not say.

    Raises
    ------
    HeaderError
        Raised if a section is missing or impossible.
    RawFileError
        Raised if an image is missing or of another size than described.
    """
    layout = instrument.document.raw.layout
    if layout == "channels":
        return _cut_channels(images[0], header, source), None
    if layout == "segments":
        segments = tuple(
            _segment_of_hdu(image, own, source) for image, own in zip(images, image_headers, strict=True)
        )
        (_, width), (_, height) = _section(header, "DETSIZE", source)
        return segments, (height, width)
    return _cut_sections(instrument, detector, images, image_headers, header, source), None


def _cut_sections(
    instrument: Instrument,
    detector: int,
    images: Sequence[NDArray[Any]],
    image_headers: Sequence[Mapping[str, Any]],
    header: Mapping[str, Any],
    source: str,
) -> tuple[Segment, ...]:
    kind = instrument.kind_of(detector)
    places = instrument.places[detector]
    needed = max(place.hdu for place in places) + 1
    if len(images) < needed:
        raise RawFileError(source, f"detector {detector} has {len(images)} images, not {needed}.")
    keywords = instrument.document.raw.section_keywords
    if keywords:
        written = [
            _as_written(one, {**header, **image_headers[one.hdu]}, keywords) for one in kind.amplifiers
        ]
        if written != list(kind.amplifiers):
            height, width = images[places[0].hdu].shape
            try:
                places = places_of(written, width, height)
            except ValueError as error:
                raise HeaderError(next(iter(keywords.values())), f"{error}.", source) from error
            return tuple(_segment_at(place, _whole(images[place.hdu])) for place in places)
    for place in places:
        height, width = images[place.hdu].shape
        if kind.columns and (kind.rows, kind.columns) != (height, width):
            raise RawFileError(
                source,
                f"the image has {width} x {height} pixels, not {kind.columns} x {kind.rows} as described: "
                "is it binned, or a part of the detector?",
            )
        if place.rows.stop > height or place.columns.stop > width:
            raise RawFileError(
                source,
                f"amplifier {place.name} ends at column {place.columns.stop} and row {place.rows.stop}, but "
                f"the image has {width} x {height} pixels.",
            )
    return tuple(_segment_at(place, _whole(images[place.hdu])) for place in places)


def _as_written(
    amplifier: AmplifierDocument, header: Mapping[str, Any], keywords: Mapping[Any, str]
) -> AmplifierDocument:
    """Replace an amplifier's sections by those that a header has."""
    found = {}
    for name, form in keywords.items():
        value = str(header.get(form.format(amplifier=amplifier.name), ""))
        if match := _SECTION.fullmatch(value.replace(" ", "")):
            found[name] = tuple(map(int, match.groups()))
    return amplifier.model_copy(update=found)


def _segment_at(place: AmplifierPlace, image: NDArray[Any]) -> Segment:
    data = image[place.rows, place.columns]
    return Segment(
        name=place.name,
        data=data[:: -1 if place.reversed_rows else 1, :: -1 if place.reversed_columns else 1],
        data_section=place.data,
        serial_overscan=place.serial_overscan,
        parallel_overscan=place.parallel_overscan,
        flip_x=place.flip_x,
        flip_y=place.flip_y,
        x0=place.x0,
        y0=place.y0,
    )


def _whole(image: NDArray[Any]) -> NDArray[Any]:
    """Return an image of whole numbers as integers: some programs write counts as floating-point numbers."""
    if image.dtype.kind != "f":
        return image
    whole = np.rint(image)
    if np.array_equal(whole, image) and np.abs(whole).max(initial=0) < 2**31:
        return whole.astype(np.int32)
    return image.astype(np.float32)


def _segment_of_hdu(data: NDArray[Any], header: Mapping[str, Any], source: str) -> Segment:
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
    match = _SECTION.fullmatch(str(value).replace(" ", ""))
    if value is None or match is None:
        raise HeaderError(key, "is missing." if value is None else f"{value!r} is not a section.", source)
    x_start, x_end, y_start, y_end = map(int, match.groups())
    return (x_start, x_end), (y_start, y_end)


def _cut_channels(image: NDArray[Any], header: Mapping[str, Any], source: str) -> tuple[Segment, ...]:
    """Cut an image of four channels side by side, each in readout order."""

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
