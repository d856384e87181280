"""What the story of a visit needs of the repositories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from lsst.resources import ResourcePath


class PipelineRun(Protocol):
    """What a pipeline did."""

    @property
    def pipeline(self) -> str:
        """Stem of its file."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Metadata by task label."""

    @property
    def seconds(self) -> Mapping[str, float]:
        """Wall time by task label."""


class VisitWorkspace(Protocol):
    """The repositories, as one visit sees them."""

    def preload(self) -> Mapping[str, float] | None:
        """Load what is needed before the images arrive; give the metrics of that, if there are any."""

    def run_preprocessing(self) -> None:
        """Run the pipeline for the time before the images arrive."""

    def ingest(self, images: Sequence[ResourcePath]) -> tuple[int, ...]:
        """Take images in; give the exposures of those that are usable."""

    def run_pipeline(self) -> PipelineRun:
        """Run the best main pipeline that can be built."""

    def export(self) -> int:
        """Hand outputs over; give the number of datasets."""

    def clean(self) -> None:
        """Leave nothing of the visit behind."""
