"""Generate the Grafana dashboard."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

__all__ = ["dashboard"]

_INSTRUMENT = 'instrument=~"$instrument"'
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_COLUMNS = 24


@dataclass(frozen=True)
class _Panel:
    title: str
    description: str
    queries: tuple[tuple[str, str], ...]
    """Expression and legend of each line."""
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 12


def _quantiles(metric: str, labels: str, by: str) -> tuple[tuple[str, str], ...]:
    legend = "{{" + by + "}} " if by else ""
    groups = f"le, {by}" if by else "le"
    return tuple(
        (
            f"histogram_quantile({quantile}, sum by ({groups}) "
            f"(rate({metric}_bucket{labels}[$__rate_interval])))",
            f"{legend}{quantile:.0%}",
        )
        for quantile in (0.5, 0.9, 0.99)
    )


_PANELS = (
    _Panel(
        "Image to last alert",
        "Seconds from the image's arrival to the acknowledgement of its last alert.",
        _quantiles("prompt_arrival_to_alert_seconds", f"{{{_INSTRUMENT}}}", "instrument"),
        "s",
    ),
    _Panel(
        "Visits by outcome",
        "Visit-detectors that ended, per second.",
        (
            (
                f"sum by (outcome) (rate(prompt_visits_total{{{_INSTRUMENT}}}[$__rate_interval]))",
                "{{outcome}}",
            ),
        ),
        "ops",
    ),
    _Panel(
        "Share of failures",
        "Of all visits that ended: failed permanently, and to be retried.",
        tuple(
            (
                f'sum(rate(prompt_visits_total{{{_INSTRUMENT}, outcome="{outcome}"}}[$__rate_interval]))'
                f" / sum(rate(prompt_visits_total{{{_INSTRUMENT}}}[$__rate_interval]))",
                outcome,
            )
            for outcome in ("failed", "retriable")
        ),
        "percentunit",
        width=8,
    ),
    _Panel(
        "Workers",
        "Running instances, and busy ones among them.",
        (
            (f"sum by (instrument) (prompt_instances_running{{{_INSTRUMENT}}})", "{{instrument}} running"),
            (f"sum by (instrument) (prompt_instances_processing{{{_INSTRUMENT}}})", "{{instrument}} busy"),
        ),
        width=8,
    ),
    _Panel(
        "Backlog",
        "Visit-detectors that are not settled, and those not yet assigned to a worker.",
        (
            ("sum(fan_out_waiting_visit_detectors)", "accepted"),
            ("sum(fan_out_requests_in_flight)", "posted"),
            ("sum(fan_out_waiting_visit_detectors) - sum(prompt_instances_processing)", "without a worker"),
        ),
        width=8,
    ),
    _Panel(
        "Redis streams",
        "Visit-detectors that a consumer group has not read, those that it has not settled, and all entries.",
        (
            ("sum by (stream) (prompt_stream_lag)", "{{stream}} unread"),
            ("sum by (stream) (prompt_stream_pending)", "{{stream}} pending"),
            ("sum by (stream) (prompt_stream_length)", "{{stream}} entries"),
        ),
        width=24,
    ),
    _Panel(
        "Time by stage",
        "Mean seconds of a visit in each stage.",
        (
            (
                f"sum by (stage) (rate(prompt_stage_seconds_sum{{{_INSTRUMENT}}}[$__rate_interval]))"
                f" / sum by (stage) (rate(prompt_stage_seconds_count{{{_INSTRUMENT}}}[$__rate_interval]))",
                "{{stage}}",
            ),
        ),
        "s",
    ),
    _Panel(
        "Slowest tenth by stage",
        "Seconds within which nine visits of ten pass each stage.",
        (
            (
                "histogram_quantile(0.9, sum by (le, stage) "
                f"(rate(prompt_stage_seconds_bucket{{{_INSTRUMENT}}}[$__rate_interval])))",
                "{{stage}}",
            ),
        ),
        "s",
    ),
    _Panel(
        "Announced and sent on",
        "Messages of the telescope, answers of workers by status, and visits not sent on.",
        (
            ("sum(rate(next_visit_messages_total[$__rate_interval]))", "announced"),
            ("sum by (status) (rate(fan_out_answers_total[$__rate_interval]))", "answer {{status}}"),
            (
                "sum by (reason) (rate(next_visit_skipped_visits_total[$__rate_interval]))",
                "skipped: {{reason}}",
            ),
            ("sum(rate(fan_out_retries_total[$__rate_interval]))", "sent again"),
        ),
        "ops",
    ),
    _Panel(
        "Announcement to its last message",
        "Seconds from reading a visit until it is sent for all detectors.",
        _quantiles("fan_out_seconds", f"{{{_INSTRUMENT}}}", "instrument"),
        "s",
        width=6,
    ),
    _Panel(
        "Unreadable messages",
        "Messages of the telescope, and arrival notices.",
        (
            ("sum(increase(next_visit_undecodable_messages_total[$__rate_interval]))", "next_visit"),
            (
                "sum by (topic) "
                f"(increase(prompt_undecodable_messages_total{{{_INSTRUMENT}}}[$__rate_interval]))",
                "{{topic}}",
            ),
        ),
        width=6,
    ),
    _Panel(
        "Butler writer",
        "Messages and datasets entered per second, and failures.",
        (
            ("sum(rate(butler_writer_messages_total[$__rate_interval]))", "messages"),
            ("sum(rate(butler_writer_datasets_total[$__rate_interval]))", "datasets"),
            ("sum(rate(butler_writer_messages_left_behind_total[$__rate_interval]))", "left behind"),
            ("sum(rate(butler_writer_failures_total[$__rate_interval]))", "failed attempts"),
        ),
        "ops",
        width=8,
    ),
    _Panel(
        "Butler writer: time of a batch",
        "From its last message to its commit.",
        _quantiles("butler_writer_batch_seconds", "", ""),
        "s",
        width=8,
    ),
    _Panel(
        "Raw microservice",
        "Requests per second by answer, and the time within which nine of ten are answered.",
        (
            ("sum by (answer) (rate(raw_microservice_questions_total[$__rate_interval]))", "{{answer}}"),
            (
                "histogram_quantile(0.9, sum by (le) "
                "(rate(raw_microservice_answer_seconds_bucket[$__rate_interval])))",
                "seconds, 90%",
            ),
        ),
        width=8,
    ),
)


def dashboard() -> str:
    """Write the dashboard.

    Returns
    -------
    text
        Grafana's JSON. The data source and the instruments are chosen in it.
    """
    panels: list[dict[str, Any]] = []
    x = y = 0
    for number, panel in enumerate(_PANELS, start=1):
        if x + panel.width > _COLUMNS:
            x, y = 0, y + 8
        panels.append(_panel(number, panel, x, y))
        x += panel.width
    content = {
        "uid": "prompt-processing",
        "title": "Prompt Processing",
        "description": "Visits from their announcement to their alerts.",
        "tags": ["prompt-processing"],
        "timezone": "utc",
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [_data_source(), _instruments()]},
        "panels": panels,
    }
    return json.dumps(content, indent=2) + "\n"


def _panel(number: int, panel: _Panel, x: int, y: int) -> dict[str, Any]:
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": 8},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {
            "legend": {"displayMode": "table", "placement": "right", "calcs": ["lastNotNull", "max"]}
        },
        "targets": [
            {"refId": chr(ord("A") + i), "datasource": _SOURCE, "expr": expression, "legendFormat": legend}
            for i, (expression, legend) in enumerate(panel.queries)
        ],
    }


def _data_source() -> dict[str, Any]:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}


def _instruments() -> dict[str, Any]:
    return {
        "name": "instrument",
        "label": "Instrument",
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": "label_values(prompt_instances_running, instrument)", "refId": "instrument"},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }
