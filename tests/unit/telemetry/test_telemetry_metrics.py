"""What Prometheus reads before anything has happened."""

from prometheus_client import CollectorRegistry

from prompt_processing.domain.outcome import STAGES, Status
from prompt_processing.fanout.metrics import FanOutMetrics
from prompt_processing.raw_microservice.metrics import MicroserviceMetrics
from prompt_processing.telemetry.metrics import Metrics


def _value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, labels)


def test_first_visit_of_each_outcome_is_seen_to_be_counted() -> None:
    """A counter that appears with the first failure looks to Prometheus as if nothing had failed."""
    metrics = Metrics("LSSTCam")
    for status in Status:
        labels = {"instrument": "LSSTCam", "outcome": status.label}
        assert _value(metrics.registry, "prompt_visits_total", **labels) == 0
    for stage in STAGES:
        assert _value(metrics.registry, "prompt_stage_seconds_count", instrument="LSSTCam", stage=stage) == 0
    metrics.visit_ended("failed", {}, None)
    assert _value(metrics.registry, "prompt_visits_total", instrument="LSSTCam", outcome="failed") == 1


def test_first_visit_that_reaches_nobody_is_seen_to_be_counted() -> None:
    metrics = FanOutMetrics()
    metrics.expect_answers(["LSSTCam", "LATISS"])
    for instrument in ("LSSTCam", "LATISS"):
        labels = {"instrument": instrument, "status": "unreachable"}
        assert _value(metrics.registry, "fan_out_answers_total", **labels) == 0


def test_first_question_without_an_answer_is_seen_to_be_counted() -> None:
    assert _value(MicroserviceMetrics().registry, "raw_microservice_questions_total", answer="unknown") == 0
