"""Write raw images in the camera's file format, and assign new identities to existing files."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
from astropy.time import Time
from numpy.typing import NDArray

from .description.cards import Identity, described_identity
from .description.instrument import Instrument, load_named
from .description.registry import load_instrument
from .errors import RawFileError
from .header_corrections import correct_header
from .header_files import plain_header, read_header
from .headers import translate
from .raw_frame import RawFrame, Segment
from .raw_key import has_night_keys
from .raw_sections import joined_sections

# Keywords that the library writes itself, or that differ between segments.
_OWN_KEYS = re.compile(
    r"SIMPLE|BITPIX|NAXIS\d?|EXTEND|XTENSION|PCOUNT|GCOUNT|TFIELDS|TTYPE1|TFORM1"
    r"|Z(IMAGE|TENSION|SIMPLE|EXTEND|BITPIX|NAXIS\d?|PCOUNT|GCOUNT|CMPTYPE|HECKSUM|DATASUM|QUANTIZ|(TILE|NAME|VAL)\d)"
    r"|CHECKSUM|DATASUM|BSCALE|BZERO|INHERIT"
)
_SEGMENT_KEYS = re.compile(
    r"EXTNAME|CHANNEL|CCDSUM|DATASEC|DETSEC|DTV\d|DTM\d_\d|WCSNAME[A-Z]|CTYPE\d[A-Z]|PC\d_\d[A-Z]|(CDELT|CRPIX|CRVAL)\d[A-Z]"
)


def write_raw(
    path: str | Path, frame: RawFrame, header: Mapping[str, Any] | None = None, *, compress: bool = True
) -> None:
    """Write a raw image in the format of its camera.

    By the layout that the instrument's description names: an empty primary HDU with the header, then one
    int32 HDU per segment, Rice-compressed row by row; or one uncompressed uint16 HDU, with the channels side
    by side; or images with the described sections.

    Parameters
    ----------
    path
        File to write; an existing one is replaced.
    frame
        Pixels and their layout.
    header
        Keywords; by default those of the frame. Keywords of the layout are
        always derived from the frame.
    compress
        Whether to compress segments, where the camera's files are.
    """
    keywords = plain_header(frame.header if header is None else header)
    instrument = load_instrument(frame.instrument)
    layout = instrument.document.raw.layout
    if layout == "sections":
        write_frames(path, [frame], [keywords], compress=compress)
        return
    # fitsio would append to an existing file.
    Path(path).unlink(missing_ok=True)
    with fitsio.FITS(str(path), "rw") as fits:
        if layout == "channels":
            image, sections = _joined_channels(frame.segments)
            fits.write(image, header=_cards({**keywords, **sections}))
            fits[0].write_checksum()
            return
        height, width = frame.shape
        detsize = f"[1:{width},1:{height}]"
        general = {key: value for key, value in keywords.items() if not _SEGMENT_KEYS.fullmatch(key)}
        fits.write(None, header=_cards({**general, "DETSIZE": detsize}))
        for channel, segment in enumerate(frame.segments, start=1):
            rice = {"compress": "RICE", "tile_dims": [1, segment.data.shape[1]]} if compress else {}
            cards = _cards({"CHANNEL": channel, **_segment_layout(segment, height), "DETSIZE": detsize})
            pixels = np.ascontiguousarray(segment.data, dtype=np.int32)
            fits.write(pixels, extname=segment.name, header=cards, **rice)
        for hdu in fits:
            hdu.write_checksum()


def write_frames(
    path: str | Path,
    frames: Sequence[RawFrame],
    headers: Sequence[Mapping[str, Any]] | None = None,
    *,
    compress: bool = True,
) -> None:
    """Write the raw images of several detectors to one file, with the described sections.

    Parameters
    ----------
    path
        File to write; an existing one is replaced.
    frames
        Pixels and their layout, all of one instrument; more than one only where images are in extensions.
    headers
        Keywords of each; by default those of the frames. Those that are equal in all go to the primary HDU.
    compress
        Whether to compress the images, where the camera's files are.

    Raises
    ------
    ValueError
        Raised if the instrument's files hold only one detector.
    """
    instrument = load_instrument(frames[0].instrument)
    raw = instrument.document.raw
    keywords = [plain_header(one) for one in headers or [frame.header for frame in frames]]
    if len(frames) > 1 and not raw.extensions:
        raise ValueError(f"A file of {instrument.name} holds one detector.")
    Path(path).unlink(missing_ok=True)
    with fitsio.FITS(str(path), "rw") as fits:
        shared: dict[str, Any] = {}
        if raw.extensions:
            own = _keywords_of_detector(instrument)
            shared = {
                key: value
                for key, value in keywords[0].items()
                if key not in own and all(other.get(key) == value for other in keywords)
            }
            fits.write(None, header=_cards(shared))
        for frame, header in zip(frames, keywords, strict=True):
            rest = {key: value for key, value in header.items() if key not in shared}
            name = instrument.camera.detector(frame.detector).name
            for image, layout in joined_sections(instrument, frame):
                options: dict[str, Any] = {}
                if raw.detector_extension is not None:
                    options["extname"] = raw.detector_extension.format(name=name)
                if raw.compressed and compress:
                    options |= {"compress": "RICE", "tile_dims": [1, image.shape[1]]}
                fits.write(image, header=_cards({**rest, **layout}), **options)
        for hdu in fits:
            hdu.write_checksum()


def _keywords_of_detector(instrument: Instrument) -> set[str]:
    rules = instrument.document.header
    return set() if rules is None else set(rules.detector.keywords)


def _cards(header: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"name": key, "value": value} for key, value in header.items() if not _OWN_KEYS.fullmatch(key)]


def _segment_layout(segment: Segment, height: int) -> dict[str, Any]:
    """Return the keywords of a segment's position, the inverse of reading them."""
    rows, columns = segment.data_section
    target_rows, target_columns = segment.target
    x_start, x_end = target_columns.start + 1, target_columns.stop
    # DETSEC counts rows from the other end than the assembled image.
    y_start, y_end = height - target_rows.stop + 1, height - target_rows.start
    if segment.flip_x:
        x_start, x_end = x_end, x_start
    if not segment.flip_y:
        y_start, y_end = y_end, y_start
    x_step, y_step = (-1.0 if segment.flip_x else 1.0), (1.0 if segment.flip_y else -1.0)
    return {
        "CCDSUM": "1 1",
        "DATASEC": f"[{columns.start + 1}:{columns.stop},{rows.start + 1}:{rows.stop}]",
        "DETSEC": f"[{x_start}:{x_end},{y_start}:{y_end}]",
        "DTV1": x_start - x_step * (columns.start + 1),
        "DTV2": y_start - y_step * (rows.start + 1),
        "DTM1_1": x_step,
        "DTM2_2": y_step,
        "DTM1_2": 0.0,
        "DTM2_1": 0.0,
    }


def _joined_channels(segments: tuple[Segment, ...]) -> tuple[NDArray[np.uint16], dict[str, Any]]:
    """Join HSC's channels side by side, and return the image and the keywords of their sections."""
    image = np.concatenate([segment.oriented(segment.data) for segment in segments], axis=1)
    layout: dict[str, Any] = {}
    left = 0
    for number, segment in enumerate(segments, start=1):
        height, width = segment.data.shape
        sections = {
            "OS": (segment.serial_overscan[1], segment.parallel_overscan[0]),
            "EF": (segment.data_section[1], segment.data_section[0]),
        }
        for kind, (columns, rows) in sections.items():
            first, last = _stored(columns, width, segment.flip_x)
            bottom, top = _stored(rows, height, segment.flip_y)
            layout[f"T_{kind}MN{number}1"], layout[f"T_{kind}MX{number}1"] = left + first + 1, left + last
            layout[f"T_{kind}MN{number}2"], layout[f"T_{kind}MX{number}2"] = bottom + 1, top
        left += width
    return np.ascontiguousarray(image.astype(np.uint16)), layout


def _stored(span: slice, size: int, flip: bool) -> tuple[int, int]:
    """Return the span in the file of a span of the readout."""
    return (size - span.stop, size - span.start) if flip else (span.start, span.stop)


def identity_keywords(
    instrument: str,
    *,
    exposure: int,
    group: str,
    begin: Time,
    end: Time,
    snap: int = 0,
    snaps: int = 1,
    controller: str = "O",
) -> dict[str, Any]:
    """Return the keywords that identify the exposure of a raw and its time.

    Parameters
    ----------
    instrument
        Short name.
    exposure
        Id.
    group
        Group of the visit.
    begin, end
        Begin and end of the exposure.
    snap, snaps
        Index in the visit, from 0, and number of the visit's exposures.
    controller
        Letter in the OBSID of LSST cameras.

    Raises
    ------
    ValueError
        Raised if the exposure id is invalid for the instrument.
    """
    described = load_instrument(instrument)
    identity = Identity(exposure, group, begin, end, snap, snaps, controller)
    if described.document.identity is not None:
        keywords: dict[str, Any] = load_named(described.document.identity)(instrument, identity)
        return keywords
    return described_identity(described, identity)


def restamp_raw(
    source: str | Path,
    destination: str | Path,
    *,
    exposure: int,
    group: str,
    begin: Time,
    snap: int = 0,
    snaps: int = 1,
    controller: str = "O",
) -> dict[str, Any]:
    """Copy a raw and make it another exposure, without changing its pixels.

    Parameters
    ----------
    source, destination
        Files; if they are the same, the file is changed in place.
    exposure
        New exposure id.
    group
        Group of the new visit.
    begin
        New begin of the exposure; its duration is unchanged.
    snap, snaps, controller
        As for `identity_keywords`.

    Returns
    -------
    header
        The new header, for `format_sidecar`.

    Raises
    ------
    RawFileError
        Raised if the source cannot be read or the destination cannot be written.
    HeaderError
        Raised if the source's header does not identify the exposure.
    """
    header = read_header(source)
    old = translate(header, str(source))
    identity = identity_keywords(
        old.instrument,
        exposure=exposure,
        group=group,
        begin=begin,
        end=begin + (old.end - old.begin),
        snap=snap,
        snaps=snaps,
        controller=controller,
    )
    keywords = _corrections(old.instrument, header) | identity
    if has_night_keys(old.instrument):
        keywords["FILENAME"] = Path(destination).name
    try:
        if Path(source).resolve() != Path(destination).resolve():
            shutil.copyfile(source, destination)
        with fitsio.FITS(str(destination), "rw") as fits:
            # A compressed file may have all keywords in the first extension.
            mark = next(iter(identity))
            hdu = next((hdu for hdu in fits if mark in hdu.read_header()), fits[0])
            for key, value in keywords.items():
                hdu.write_key(key, value)
            hdu.write_checksum()
    except OSError as error:
        raise RawFileError(str(destination), f"cannot be given a new identity: {error}") from error
    return read_header(destination)


def _corrections(instrument: str, header: Mapping[str, Any]) -> dict[str, Any]:
    """Return corrections to a header, since they could not be looked up under its new date."""
    corrected = dict(header)
    correct_header(instrument, corrected)
    return {key: value for key, value in corrected.items() if value is not None and value != header.get(key)}


def format_sidecar(header: Mapping[str, Any]) -> bytes:
    """Return the sidecar of a raw: its header as JSON, without keywords of the file's layout."""
    document: dict[str, Any] = {"__CONTENT__": "metadata"}
    for key, value in plain_header(header).items():
        if not _OWN_KEYS.fullmatch(key) and not _SEGMENT_KEYS.fullmatch(key):
            document[f"HIERARCH.{key.replace(' ', '.')}" if " " in key else key] = value
    return json.dumps(document, indent=1).encode()
