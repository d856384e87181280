"""Interface of the repositories that processing a visit needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from lsst.resources import ResourcePath


class PipelineRun(Protocol):
    """Result of a pipeline."""

    @property
    def pipeline(self) -> str:
        """Stem of the pipeline's file name."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Metadata by task label."""

    @property
    def seconds(self) -> Mapping[str, float]:
        """Wall time by task label."""


class VisitWorkspace(Protocol):
    """The repositories, as one visit sees them."""

    @property
    def runs(self) -> Mapping[str, str]:
        """Output run by the stem of the pipeline."""

    def preload(self) -> Mapping[str, float] | None:
        """Load the inputs before the images arrive; return metrics of the preload, if any."""

    def run_preprocessing(self) -> None:
        """Run the pipeline that precedes the arrival of images."""

    def ingest(self, images: Sequence[ResourcePath]) -> tuple[int, ...]:
        """Ingest images; return the exposures of those that are usable."""

    def run_pipeline(self) -> PipelineRun:
        """Run the best main pipeline that can be built."""

    def export(self) -> int:
        """Hand outputs over; return the number of datasets."""

    def clean(self) -> None:
        """Remove everything that belongs to the visit."""
