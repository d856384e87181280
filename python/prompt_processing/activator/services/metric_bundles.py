"""Bundle the metrics of a visit for the observatory's metrics service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from prompt_processing.butler.collections import NO_PIPELINE
from prompt_processing.domain.outcome import Outcome
from prompt_processing.domain.visit import FannedOutVisit
from prompt_processing.telemetry.sasquatch import Bundle

__all__ = [
    "PRELOAD_ACTION",
    "PRELOAD_BUNDLE",
    "bundles_of_visit",
    "preload_bundle",
    "preload_times",
    "task_metrics",
]

PRELOAD_BUNDLE = "promptPreload_metrics"

PRELOAD_ACTION = "prepButlerTimeMetric"
"""Topic, and part of the bundle, of the times of the preload that dashboards of the observatory show."""

_PRELOAD_TIMES = tuple(f"prep_butler{step}Time" for step in ("Total", "Search", "Transfer", "Preprocess"))

_DATASET_TAG = "Live"
"""Sets metrics of the night apart from those of reprocessed data."""


def bundles_of_visit(
    visit: FannedOutVisit,
    outcome: Outcome,
    preload: Mapping[str, float],
    metadata: Mapping[str, Any],
    runs: Mapping[str, str] | None = None,
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
    runs : mapping, optional
        Output run by the stem of the pipeline, and of what the preload has made.

    Yields
    ------
    bundle : `~prompt_processing.telemetry.sasquatch.Bundle`
        ``promptPreload_metrics``, its times once more as ``prepButlerTimeMetric``, and ``<label>_metrics`` of
        each task that has counts.
    """
    if "preload" not in outcome.stages:
        return
    runs = runs or {}
    # Strings, as in the records of the observatory's other services: one topic has one type for a field.
    identity = {
        "dataset_tag": _DATASET_TAG,
        "instrument": visit.instrument,
        "group": visit.groupId,
        "detector": str(visit.detector),
        "survey": visit.survey,
    }
    of_preload = {"run": runs.get(NO_PIPELINE, ""), "dataset_type": PRELOAD_BUNDLE, **identity}
    yield Bundle(PRELOAD_BUNDLE, {"preloadTime": outcome.stages["preload"], **preload}, of_preload)
    if times := preload_times(preload):
        yield Bundle(PRELOAD_ACTION, times, of_preload)
    if not outcome.exposures:
        return
    about = {"run": runs.get(outcome.pipeline or "", ""), **identity, "visit": str(outcome.exposures[0])}
    for label in metadata:
        if values := task_metrics(metadata, label):
            name = f"{label}_metrics"
            yield Bundle(name, values, {**about, "dataset_type": name})


def preload_bundle(metrics: Mapping[str, float]) -> dict[str, list[dict[str, Any]]]:
    """Return the metrics of a preload as the dataset ``promptPreload_metrics`` has them, by action."""
    times = preload_times(metrics)
    others = {name: value for name, value in metrics.items() if name not in times}
    return {
        action: [
            {"metric": name, "value": value, "unit": "s" if name.endswith("Time") else ""}
            for name, value in values.items()
        ]
        for action, values in ((PRELOAD_ACTION, times), ("promptPreload", others))
    }


def preload_times(preload: Mapping[str, float]) -> dict[str, float]:
    """Return those metrics of a preload that belong to the action ``prepButlerTimeMetric``.

    Parameters
    ----------
    preload : mapping
        Metrics of the preload, by name.

    Returns
    -------
    times : `dict` [`str`, `float`]
        Seconds; 0 for a step that has not run, and nothing if none has.
    """
    if not any(name in preload for name in _PRELOAD_TIMES):
        return {}
    # Always the same fields: the topic's schema knows no others.
    return {name: preload.get(name, 0.0) for name in _PRELOAD_TIMES}


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
