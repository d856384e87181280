"""Header translators by instrument, in terms of astro_metadata_translator.

An instrument's folder names a class, or has rules of which one is made. The classes have no ``name``, so that
they are not entered in the package's registry, where they would replace another distribution's. They are
always passed explicitly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..description.registry import load_instrument, recognise
from ..errors import HeaderError

# Imported late otherwise: a worker is ready for visits before it reads a header.
if TYPE_CHECKING:
    from astro_metadata_translator import MetadataTranslator

__all__ = ["instrument_of", "translator_for"]


def instrument_of(header: Mapping[str, Any]) -> str:
    """Return the short name of the instrument that wrote a header.

    Raises
    ------
    HeaderError
        Raised if the instrument is unknown.
    """
    found = recognise(header)
    if found is not None:
        return found.name
    value = header.get("INSTRUME")
    raise HeaderError("INSTRUME", "is missing." if value is None else f"{value!r} is not a known instrument.")


def translator_for(instrument: str) -> type[MetadataTranslator]:
    """Return the translator of an instrument that `instrument_of` returned."""
    return load_instrument(instrument).translator
