"""The common type of all images of one detector.

The stack's storage class ``Exposure`` holds raws as well as images after signature removal. Here these are
different types, and the files of `lsst.images` hold a third.
"""

from __future__ import annotations

from abc import ABCMeta

from prompt_processing.images.exposure import Exposure
from prompt_processing.instruments.raw_frame import RawFrame

__all__ = ["DetectorImage"]


class DetectorImage(metaclass=ABCMeta):  # noqa: B024  # It only names what the Butler may return.
    """A `RawFrame`, an `Exposure`, or an image of `lsst.images`; nothing derives from it."""

    @classmethod
    def __subclasshook__(cls, other: type) -> bool:
        """Return whether a type is one of these."""
        if other is cls:
            return True
        # By name: the import of `lsst.images` takes a second, which workers do not need.
        return issubclass(other, RawFrame | Exposure) or any(
            base.__name__ == "MaskedImage" and base.__module__.startswith("lsst.images.")
            for base in other.__mro__
        )
