"""Place of an amplifier's pixels in a file and in the assembled image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from .document import AmplifierDocument, Section

__all__ = ["AmplifierPlace", "places_of"]

_NOTHING = slice(0, 0)


@dataclass(frozen=True, slots=True)
class AmplifierPlace:
    """Place of one amplifier.

    Attributes
    ----------
    name
        Name of the amplifier.
    hdu
        Which of the detector's images holds it, from 0.
    rows, columns
        Its pixels in that image: data with both overscans, and what lies between.
    reversed_rows, reversed_columns
        Whether the readout order is the reverse of the file's, so that overscan follows the data.
    data, serial_overscan, parallel_overscan
        Parts of these pixels, in readout order: rows and columns.
    flip_x, flip_y
        Whether the readout order is the reverse of the assembled image's.
    x0, y0
        Lower left pixel of the data in the assembled image.
    """

    name: str
    hdu: int
    rows: slice
    columns: slice
    reversed_rows: bool
    reversed_columns: bool
    data: tuple[slice, slice]
    serial_overscan: tuple[slice, slice]
    parallel_overscan: tuple[slice, slice]
    flip_x: bool
    flip_y: bool
    x0: int
    y0: int

    def layout(self) -> dict[str, Any]:
        """Return the fields of `~prompt_processing.instruments.Amplifier` that describe the layout."""
        rows, columns = self.data
        return {
            "name": self.name,
            "columns": columns.stop - columns.start,
            "rows": rows.stop - rows.start,
            "serial_prescan": columns.start,
            "serial_overscan": self.columns.stop - self.columns.start - columns.stop,
            "parallel_prescan": rows.start,
            "parallel_overscan": self.rows.stop - self.rows.start - rows.stop,
            "flip_x": self.flip_x,
            "flip_y": self.flip_y,
            "x0": self.x0,
            "y0": self.y0,
        }


def places_of(amplifiers: Sequence[AmplifierDocument], width: int, height: int) -> tuple[AmplifierPlace, ...]:
    """Work out the places of a detector's amplifiers from their sections.

    Parameters
    ----------
    amplifiers
        Their sections in the file.
    width, height
        Size of an image, pixels; 0 if unknown.

    Returns
    -------
    places
        Places in the same order; the assembled image begins at the lowest and leftmost of them.

    Raises
    ------
    ValueError
        Raised if the sections contradict each other or lie outside the image.
    """
    places = [_place_of(amplifier, width, height) for amplifier in amplifiers]
    left, bottom = min(place.x0 for place in places), min(place.y0 for place in places)
    return tuple(replace(place, x0=place.x0 - left, y0=place.y0 - bottom) for place in places)


def _place_of(amplifier: AmplifierDocument, width: int, height: int) -> AmplifierPlace:
    name = amplifier.name
    data = amplifier.data or (1, width, 1, height)
    if min(data) < 1:
        raise ValueError(
            f"amplifier {name} needs a data section, or the size of the image (columns and rows)"
        )
    columns, rows = _ascending(data)
    target = amplifier.detector_section or data
    target_columns, target_rows = _ascending(target)
    if _length(target_columns) != _length(columns) or _length(target_rows) != _length(rows):
        raise ValueError(f"the detector section of amplifier {name} has not the size of its data section")
    box_columns, before, serial = _axis(name, "overscan", columns, amplifier.overscan, 0)
    box_rows, below, parallel = _axis(name, "parallel overscan", rows, amplifier.parallel_overscan, 1)
    if (width and box_columns.stop > width) or (height and box_rows.stop > height):
        raise ValueError(
            f"the sections of amplifier {name} lie outside the image of {width} x {height} pixels"
        )
    in_readout_columns = _in_readout(columns, box_columns, before)
    in_readout_rows = _in_readout(rows, box_rows, below)
    return AmplifierPlace(
        name=name,
        hdu=amplifier.hdu,
        rows=box_rows,
        columns=box_columns,
        reversed_rows=below,
        reversed_columns=before,
        data=(in_readout_rows, in_readout_columns),
        serial_overscan=(in_readout_rows, _in_readout(serial, box_columns, before)),
        parallel_overscan=(_in_readout(parallel, box_rows, below), in_readout_columns),
        flip_x=before ^ _is_reversed(data[:2], target[:2]),
        flip_y=below ^ _is_reversed(data[2:], target[2:]),
        x0=target_columns.start,
        y0=target_rows.start,
    )


def _axis(name: str, what: str, data: slice, section: Section | None, axis: int) -> tuple[slice, bool, slice]:
    """Return the extent of data and overscan, whether the overscan comes first, and the overscan."""
    if section is None:
        return data, False, _NOTHING
    overscan = _ascending(section)[axis]
    if overscan.start < data.stop and data.start < overscan.stop:
        raise ValueError(f"the {what} of amplifier {name} overlaps its data section")
    extent = slice(min(data.start, overscan.start), max(data.stop, overscan.stop))
    return extent, overscan.start < data.start, overscan


def _ascending(section: Section) -> tuple[slice, slice]:
    """Return columns and rows of a section, ascending, from 0."""
    first_column, last_column, first_row, last_row = section
    return (
        slice(min(first_column, last_column) - 1, max(first_column, last_column)),
        slice(min(first_row, last_row) - 1, max(first_row, last_row)),
    )


def _in_readout(part: slice, extent: slice, is_reversed: bool) -> slice:
    if part == _NOTHING:
        # Behind the last pixel, where an overscan would begin.
        end = extent.stop - extent.start
        return slice(end, end)
    if is_reversed:
        return slice(extent.stop - part.stop, extent.stop - part.start)
    return slice(part.start - extent.start, part.stop - extent.start)


def _is_reversed(data: tuple[int, int], target: tuple[int, int]) -> bool:
    return (data[0] > data[1]) != (target[0] > target[1])


def _length(part: slice) -> int:
    return int(part.stop - part.start)
