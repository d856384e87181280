"""Read headers from files and sidecars, and find out which instrument and detector wrote them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fitsio
from astropy.io.fits.card import Undefined

from prompt_processing.domain.json_text import parse_json

from .description.registry import load_instrument, recognise
from .errors import HeaderError, RawFileError
from .translators.lookup import instrument_of, translator_for

__all__ = [
    "header_identity",
    "header_of_detector",
    "holds_image",
    "image_shape",
    "instrument_of_header",
    "merged_header",
    "parse_sidecar",
    "plain_header",
    "read_detector_headers",
    "read_header",
]

_STRUCTURAL = {"COMMENT", "HISTORY", "CONTINUE", ""}


def header_identity(header: Mapping[str, Any], source: str | None = None) -> tuple[str, int]:
    """Return the instrument and the detector of a header.

    Parameters
    ----------
    header
        Keywords, merged.
    source
        Source of the keywords, for messages.

    Raises
    ------
    HeaderError
        Raised if the header does not identify them.
    """
    values = plain_header(header)
    try:
        instrument = instrument_of(values)
        return instrument, int(translator_for(instrument)(values).to_detector_num())
    except HeaderError as error:
        raise HeaderError(error.key, error.reason.partition(": ")[2], source) from None
    except (KeyError, TypeError, ValueError) as error:
        raise HeaderError("DET-ID", "is missing or not a number.", source) from error


def instrument_of_header(header: Mapping[str, Any], source: str | None = None) -> str:
    """Return the short name of the instrument that wrote a header; `source` is for messages.

    Raises
    ------
    HeaderError
        Raised if the instrument is unknown.
    """
    try:
        return instrument_of(header)
    except HeaderError as error:
        raise HeaderError(error.key, error.reason.partition(": ")[2], source) from None


def plain_header(header: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keywords with a value as plain Python objects, without commentary.

    Accepts headers of fitsio and astropy, and dictionaries.
    """
    values: dict[str, Any] = {}
    for key in header:
        if not isinstance(key, str) or key in _STRUCTURAL:
            continue
        value = header[key]
        if value is None or isinstance(value, Undefined):
            continue
        name = key.removeprefix("HIERARCH ")
        if name.startswith("HIERARCH."):
            name = name.removeprefix("HIERARCH.").replace(".", " ")  # The form in the camera's sidecars.
        values[name] = value.item() if hasattr(value, "item") else value
    return values


def read_header(path: str | Path, detector: int | None = None) -> dict[str, Any]:
    """Read the header of a raw, but not its pixels.

    Parameters
    ----------
    path
        A local FITS file.
    detector
        Id of the detector, for a file with several.

    Returns
    -------
    header
        Keywords of the primary HDU and of the first extension with an image, or of the first image of the
        detector.

    Raises
    ------
    RawFileError
        Raised if the file is unreadable, or does not hold the detector.
    """
    if detector is not None:
        found = read_detector_headers(path)
        if detector not in found:
            raise RawFileError(str(path), f"it holds {_listed(found)}, not detector {detector}.")
        return found[detector]
    try:
        with fitsio.FITS(str(path)) as fits:
            header = plain_header(fits[0].read_header())
            if len(fits) > 1 and header.get("NAXIS", 0) == 0:
                # Tables may precede the images.
                first = next((hdu for hdu in fits if holds_image(hdu)), fits[1])
                header = merged_header(header, plain_header(first.read_header()))
    except (OSError, ValueError) as error:
        # ValueError: the header has bytes that are not text.
        lines = str(error).strip().splitlines()
        raise RawFileError(str(path), f"unreadable: {lines[-1] if lines else error!r}") from error
    return header


def header_of_detector(path: str | Path, detector: int) -> dict[str, Any]:
    """Read the header of a detector, or the first one of a file that does not hold it.

    Most files hold one detector, and are read once.

    Raises
    ------
    RawFileError
        Raised if the file is unreadable.
    """
    first = read_header(path)
    try:
        if header_identity(first)[1] == detector:
            return first
        return read_detector_headers(path).get(detector, first)
    except HeaderError:
        # The translation of the first header names the fault.
        return first


def read_detector_headers(path: str | Path) -> dict[int, dict[str, Any]]:
    """Read the headers of all detectors in a file.

    Parameters
    ----------
    path
        A local FITS file, of one detector or of several.

    Returns
    -------
    headers
        Keywords of the primary HDU and of the detector's first image, by detector, without images of guiders
        and of other detectors that the instrument's description does not have.

    Raises
    ------
    RawFileError
        Raised if the file is unreadable or has no image.
    HeaderError
        Raised if no header identifies instrument and detector.
    """
    try:
        with fitsio.FITS(str(path)) as fits:
            primary = plain_header(fits[0].read_header())
            images = [plain_header(hdu.read_header()) for hdu in fits if holds_image(hdu)]
    except (OSError, ValueError) as error:
        lines = str(error).strip().splitlines()
        raise RawFileError(str(path), f"unreadable: {lines[-1] if lines else error!r}") from error
    if not images:
        raise RawFileError(str(path), "the file has no image.")
    first = merged_header(primary, images[0])
    if load_instrument(instrument_of_header(first, str(path))).document.raw.layout != "sections":
        # All images are amplifiers of one detector.
        return {header_identity(first, str(path))[1]: first}
    headers: dict[int, dict[str, Any]] = {}
    problem: HeaderError | None = None
    for image in images:
        header = merged_header(primary, image)
        try:
            headers.setdefault(header_identity(header, str(path))[1], header)
        except HeaderError as error:
            problem = problem or error
    if problem is not None and not headers:
        raise problem
    return headers


def merged_header(primary: Mapping[str, Any], extension: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the keywords of a file's primary HDU and of an extension.

    The extension takes precedence, unless the instrument has a translator class of its own: such a class
    expects the keywords of the primary HDU.
    """
    merged = {**extension, **primary}
    instrument = recognise(merged)
    if instrument is not None and instrument.document.header is not None:
        merged = {**primary, **extension}
    return merged


def holds_image(hdu: Any) -> bool:
    """Return whether an HDU of fitsio holds a two-dimensional image with pixels."""
    if hdu.get_exttype() not in ("IMAGE_HDU", 0):
        return False
    return min(image_shape(hdu)) > 0


def image_shape(hdu: Any) -> tuple[int, int]:
    """Return height and width of the image of an HDU of fitsio, pixels; zeros if it has none of two axes.

    Some programs write a third axis of length 1.
    """
    info = hdu.get_info()
    dims = [int(size) for size in info["dims"]] if info["ndims"] >= 2 else []
    if not dims or any(size != 1 for size in dims[:-2]):
        return 0, 0
    return dims[-2], dims[-1]


def _listed(headers: Mapping[int, Any]) -> str:
    numbers = ", ".join(map(str, sorted(headers)))
    return f"detector {numbers}" if len(headers) == 1 else f"detectors {numbers}"


def parse_sidecar(text: str | bytes, source: str | None = None) -> dict[str, Any]:
    """Read the sidecar of a raw, a JSON object.

    Parameters
    ----------
    text
        Content of the sidecar.
    source
        Key of the sidecar, for messages.

    Raises
    ------
    HeaderError
        Raised if the content is not a JSON object.
    """
    try:
        document = parse_json(text)
    except ValueError as error:
        raise HeaderError("(all)", f"the sidecar is not JSON: {error}", source) from error
    if not isinstance(document, dict):
        raise HeaderError("(all)", f"the sidecar holds a {type(document).__name__}, not an object.", source)
    document.pop("__CONTENT__", None)
    return plain_header(document)
