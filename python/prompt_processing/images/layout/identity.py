"""What is known of a dataset beside its content."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Identity"]


@dataclass(frozen=True, slots=True)
class Identity:
    """Data id of a file that is written.

    Attributes
    ----------
    dataset_type
        Name; empty if the file is not a Butler's.
    instrument, detector, visit, physical_filter, band
        `None` if the dataset has no such dimension.
    butler_info
        ``lsst.images.serialization.ButlerInfo``, which is stored in the file.
    """

    dataset_type: str = ""
    instrument: str | None = None
    detector: int | None = None
    visit: int | None = None
    physical_filter: str | None = None
    band: str | None = None
    butler_info: Any = None
