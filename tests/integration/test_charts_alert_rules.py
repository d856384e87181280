"""The alert rules as Prometheus evaluates them: each fires for what it is about, and none in a good night."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from chart_fixtures import only

from prompt_delivery.deployment.helm import ChartTree
from prompt_delivery.deployment.manifests import read_manifests
from prompt_processing.services.checking_tools import CheckingTools
from prompt_processing.services.installation import MissingSoftwareError
from prompt_processing.services.programs import Program

pytestmark = pytest.mark.services

CHART = "charts/prompt-monitoring"
LSSTCAM = 'instrument="LSSTCam"'
STREAM = 'stream="instrument:lsstcam",group="lsstcam_consumer_group"'


def counts(a_minute: float) -> str:
    """A counter over 40 minutes."""
    return f"0+{a_minute}x40"


def is_always(value: float) -> str:
    """A gauge over 40 minutes."""
    return f"{value}+0x40"


def took(histogram: str, labels: str, most_s: float, few_s: float) -> dict[str, str]:
    """Ten events a minute, eight of which take up to ``most_s`` seconds and two up to ``few_s``."""
    separator = "," if labels else ""
    return {
        f'{histogram}_bucket{{{labels}{separator}le="{edge}"}}': counts(n)
        for edge, n in ((f"{most_s}", 8), (f"{few_s}", 10), ("+Inf", 10))
    }


def ended(**outcomes: float) -> dict[str, str]:
    """Visits a minute by outcome."""
    return {
        f'prompt_visits_total{{{LSSTCAM},outcome="{outcome}"}}': counts(n) for outcome, n in outcomes.items()
    }


GOOD_NIGHT: dict[str, str] = {
    **took("prompt_arrival_to_alert_seconds", LSSTCAM, 20, 45),
    **took("prompt_stage_seconds", f'{LSSTCAM},stage="queue"', 1, 15),
    **took("prompt_stage_seconds", f'{LSSTCAM},stage="preload"', 5, 30),
    **took("butler_writer_batch_seconds", "", 10, 30),
    **ended(processed=300, failed=3, retriable=10, stale=0, skipped=20),
    "fan_out_waiting_visit_detectors": is_always(189),
    f"prompt_instances_processing{{{LSSTCAM}}}": is_always(180),
    f'fan_out_answers_total{{{LSSTCAM},status="200"}}': counts(300),
    f'fan_out_answers_total{{{LSSTCAM},status="unreachable"}}': counts(0),
    f"prompt_stream_lag{{{STREAM}}}": is_always(189),
    "butler_writer_messages_total": counts(300),
    "butler_writer_failures_total": counts(1),
    "butler_writer_messages_left_behind_total": counts(0),
    "next_visit_undecodable_messages_total": counts(0),
    'raw_microservice_questions_total{answer="present"}': counts(300),
    'raw_microservice_questions_total{answer="unknown"}': counts(3),
}

BAD_NIGHTS: dict[str, dict[str, str]] = {
    "PromptAlertsLate": took("prompt_arrival_to_alert_seconds", LSSTCAM, 60, 120),
    "PromptVisitsWait": took("prompt_stage_seconds", f'{LSSTCAM},stage="queue"', 30, 60),
    "PromptPreloadSlow": took("prompt_stage_seconds", f'{LSSTCAM},stage="preload"', 60, 120),
    "PromptBacklog": {"fan_out_waiting_visit_detectors": is_always(400)},
    "PromptStreamUnread": {f"prompt_stream_lag{{{STREAM}}}": is_always(201)},
    "PromptStreamLagUnknown": {f"prompt_stream_lag{{{STREAM}}}": is_always(float("nan"))},
    "PromptNoWorkers": {f'fan_out_answers_total{{{LSSTCAM},status="unreachable"}}': counts(1)},
    "PromptWriterSlow": took("butler_writer_batch_seconds", "", 60, 120),
    "PromptWriterStuck": {"butler_writer_messages_total": is_always(300)},
    "PromptVisitsFail": ended(failed=30),
    "PromptVisitsRetried": ended(retriable=100),
    # One is enough, if the counter was there before it.
    "PromptStaleVisits": {f'prompt_visits_total{{{LSSTCAM},outcome="stale"}}': "0+0x24 1+0x15"},
    "PromptUndecodableMessages": {"next_visit_undecodable_messages_total": "0+0x24 1+0x15"},
    "PromptOutputsLeftBehind": {"butler_writer_messages_left_behind_total": "0+0x24 1+0x15"},
    "PromptRawMicroserviceBlind": {'raw_microservice_questions_total{answer="unknown"}': counts(100)},
}


@pytest.fixture(scope="module")
def promtool() -> Program:
    """Prometheus's own evaluator."""
    try:
        return CheckingTools().promtool()
    except MissingSoftwareError as error:
        if os.environ.get("CI"):
            pytest.fail(f"The alert rules cannot be tested: {error}")
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def rules(chart_tree: ChartTree) -> dict[str, Any]:
    """What the chart gives to Prometheus by default."""
    text = chart_tree.render(CHART, [chart_tree.examples(CHART)["least"]])
    specification = only(read_manifests(text), "PrometheusRule")["spec"]
    assert isinstance(specification, dict)
    return specification


def without_histogram(series: dict[str, str], changed: dict[str, str]) -> dict[str, str]:
    """Leave the buckets out that a histogram with other times replaces."""
    replaced = {name.rpartition("le=")[0] for name in changed if "le=" in name}
    return {name: values for name, values in series.items() if name.rpartition("le=")[0] not in replaced}


def evaluate(
    promtool: Program, folder: Path, rules: dict[str, Any], nights: dict[str, dict[str, str]]
) -> str:
    """Let each night fire the alert of its name and no other; what is wrong, or nothing."""
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules))
    tests = [
        {
            "interval": "1m",
            "name": name,
            "input_series": [{"series": one, "values": values} for one, values in series.items()],
            "promql_expr_test": [
                {
                    "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                    "eval_time": "30m",
                    "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1}] if name else [],
                }
            ],
        }
        for name, series in nights.items()
    ]
    (folder / "test.yaml").write_text(
        yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests})
    )
    done = subprocess.run(
        [promtool.path, "test", "rules", "test.yaml"],
        cwd=folder,
        env={**os.environ, **promtool.environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_no_alert_fires_in_a_good_night(promtool: Program, tmp_path: Path, rules: dict[str, Any]) -> None:
    assert evaluate(promtool, tmp_path, rules, {"": GOOD_NIGHT}) == ""


def test_each_alert_fires_for_what_it_is_about_and_for_nothing_else(
    promtool: Program, tmp_path: Path, rules: dict[str, Any]
) -> None:
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    assert alerts == set(BAD_NIGHTS)
    nights = {
        alert: {**without_histogram(GOOD_NIGHT, changed), **changed} for alert, changed in BAD_NIGHTS.items()
    }
    assert evaluate(promtool, tmp_path, rules, nights) == ""


def test_evaluation_tells_a_rule_that_does_not_fire(
    promtool: Program, tmp_path: Path, rules: dict[str, Any]
) -> None:
    assert "PromptAlertsLate" in evaluate(promtool, tmp_path, rules, {"PromptAlertsLate": GOOD_NIGHT})
