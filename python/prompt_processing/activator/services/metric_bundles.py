"""Bundle the metrics of a visit for the observatory's metrics service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from prompt_processing.domain.outcome import Outcome
from prompt_processing.domain.visit import FannedOutVisit
from prompt_processing.telemetry.sasquatch import Bundle

__all__ = ["PRELOAD_BUNDLE", "bundles_of_visit", "task_metrics"]

PRELOAD_BUNDLE = "promptPreload_metrics"


def bundles_of_visit(
    visit: FannedOutVisit,
    outcome: Outcome,
    preload: Mapping[str, float],
    metadata: Mapping[str, Any],
) -> Iterator[Bundle]:
    """Yield the metric bundles of a visit.

    Parameters
    ----------
    visit : `~prompt_processing.domain.visit.FannedOutVisit`
        The visit.
    outcome : `~prompt_processing.domain.outcome.Outcome`
        Outcome of the visit.
    preload : mapping
        Metrics of the preload, by name.
    metadata : mapping
        Metadata of the tasks that ran on the images, by task label.

    Yields
    ------
    bundle : `~prompt_processing.telemetry.sasquatch.Bundle`
        ``promptPreload_metrics``, and ``<label>_metrics`` of each task that has counts.
    """
    if "preload" not in outcome.stages:
        return
    identity: dict[str, str | int] = {
        "instrument": visit.instrument,
        "group": visit.groupId,
        "detector": visit.detector,
        "survey": visit.survey,
    }
    yield Bundle(PRELOAD_BUNDLE, {"preloadTime": outcome.stages["preload"], **preload}, identity)
    if not outcome.exposures:
        return
    about = {**identity, "visit": outcome.exposures[0]}
    for label in metadata:
        if values := task_metrics(metadata, label):
            yield Bundle(f"{label}_metrics", values, about)


def task_metrics(metadata: Mapping[str, Any], label: str) -> dict[str, bool | int | float]:
    """Return a task's own metrics from its metadata, without those of its execution.

    Parameters
    ----------
    metadata : mapping
        Metadata by task label.
    label : `str`
        Label of the task.
    """
    values: Any = metadata.get(label)
    if values is None:
        return {}
    with suppress(KeyError):
        values = values[label]
    as_dict = values.to_dict() if hasattr(values, "to_dict") else dict(values)
    return {name: value for name, value in as_dict.items() if isinstance(value, bool | int | float)}
