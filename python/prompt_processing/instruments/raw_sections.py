"""Join the segments of described amplifiers to the images of a raw file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .description.instrument import Instrument
from .description.sections import AmplifierPlace
from .raw_frame import RawFrame, Segment

__all__ = ["joined_sections"]


def joined_sections(instrument: Instrument, frame: RawFrame) -> Iterator[tuple[NDArray[Any], dict[str, Any]]]:
    """Join the segments of a detector.

    Parameters
    ----------
    instrument
        Instrument, which describes where each segment is.
    frame
        The segments; those of a miniature camera are placed side by side in the same order.

    Yields
    ------
    image
        Image of the file; pixels between the segments have the level of the first overscan.
    layout
        Keywords of the sections that the instrument's files have.
    """
    kind, places = instrument.kind_of(frame.detector), instrument.places[frame.detector]
    segments = {segment.name: segment for segment in frame.segments}
    is_full_size = all(
        segments[place.name].data.shape == (_length(place.rows), _length(place.columns)) for place in places
    )
    for hdu in range(max(place.hdu for place in places) + 1):
        held = [place for place in places if place.hdu == hdu]
        if not is_full_size:
            held = _side_by_side(held, segments)
        width = max(place.columns.stop for place in held)
        height = max(place.rows.stop for place in held)
        if is_full_size:
            width, height = max(width, kind.columns), max(height, kind.rows)
        first = segments[held[0].name]
        image = np.full((height, width), _filling(first), np.dtype(instrument.document.raw.pixel_type))
        layout: dict[str, Any] = {}
        for place in held:
            segment = segments[place.name]
            image[place.rows, place.columns] = segment.data[
                :: -1 if place.reversed_rows else 1, :: -1 if place.reversed_columns else 1
            ]
            for name, form in instrument.document.raw.section_keywords.items():
                if (section := _section(place, segment, name)) is not None:
                    layout[form.format(amplifier=place.name)] = section
        yield image, layout


def _filling(segment: Segment) -> float:
    overscan = segment.data[segment.serial_overscan]
    return float(np.median(overscan if overscan.size else segment.data))


def _side_by_side(places: Sequence[AmplifierPlace], segments: dict[str, Segment]) -> list[AmplifierPlace]:
    """Return places for smaller segments, in the same order from left to right and from bottom to top."""
    columns = _spans([(place.columns.start, segments[place.name].data.shape[1]) for place in places])
    rows = _spans([(place.rows.start, segments[place.name].data.shape[0]) for place in places])
    return [
        replace(place, columns=columns[place.columns.start], rows=rows[place.rows.start]) for place in places
    ]


def _spans(starts_and_sizes: Sequence[tuple[int, int]]) -> dict[int, slice]:
    sizes: dict[int, int] = {}
    for start, size in starts_and_sizes:
        sizes[start] = max(size, sizes.get(start, 0))
    spans, stop = {}, 0
    for start in sorted(sizes):
        spans[start] = slice(stop, stop + sizes[start])
        stop += sizes[start]
    return spans


def _section(place: AmplifierPlace, segment: Segment, name: str) -> str | None:
    """Return a section as headers write it, or `None` if it is empty."""
    if name == "detector_section":
        rows, columns = segment.target
        # Reversed where the file is the reverse of the assembled image.
        return _written(
            columns,
            rows,
            place.flip_x ^ place.reversed_columns,
            place.flip_y ^ place.reversed_rows,
        )
    part = {
        "data": segment.data_section,
        "overscan": segment.serial_overscan,
        "parallel_overscan": segment.parallel_overscan,
    }[name]
    if not all(map(_length, part)):
        return None
    return _written(
        _in_file(part[1], place.columns, place.reversed_columns),
        _in_file(part[0], place.rows, place.reversed_rows),
    )


def _written(columns: slice, rows: slice, is_reversed_x: bool = False, is_reversed_y: bool = False) -> str:
    first_column, last_column = columns.start + 1, columns.stop
    first_row, last_row = rows.start + 1, rows.stop
    if is_reversed_x:
        first_column, last_column = last_column, first_column
    if is_reversed_y:
        first_row, last_row = last_row, first_row
    return f"[{first_column}:{last_column},{first_row}:{last_row}]"


def _in_file(part: slice, extent: slice, is_reversed: bool) -> slice:
    """Return the pixels in the file of a part in readout order."""
    if is_reversed:
        return slice(extent.stop - part.stop, extent.stop - part.start)
    return slice(extent.start + part.start, extent.start + part.stop)


def _length(part: slice) -> int:
    return int(part.stop - part.start)
