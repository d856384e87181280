"""Simulated nights that are short enough to be followed by hand."""

import dataclasses

import pytest
from autoscaling import main
from scaling.conditions import Cluster, Survey, Worker
from scaling.keda import KedaSettings
from scaling.knative import KnativeSettings
from scaling.night import Night, Simulation

# No randomness: 57 s from the announcement to the image, 12 s to the alerts, 8 s of export.
EXACT = Worker(
    preload_s=1.0, first_preload_s=8.0, to_last_alert_s=12.0, first_visit_s=0.0, export_s=8.0, spread=0.0
)
STILL = Cluster(
    placing_s=5.0, start_s=5.0, cold_start_spread=0.0, preload_database_s=0.0, export_database_s=0.0
)
ONE = Survey(detectors=1, hours=30 / 3600, pauses=())


def run(scaling: KnativeSettings | KedaSettings, survey: Survey, **changes: object) -> Night:
    cluster = dataclasses.replace(STILL, **changes)  # type: ignore[arg-type]
    return Simulation(scaling, survey, EXACT, cluster).run()


def test_one_visit_from_nothing_waits_for_its_pod_and_not_for_its_alerts() -> None:
    (visit,) = run(KnativeSettings(initial_scale=0), ONE).visits
    # Decided at 2 s, ready 10 s later; the image at 57 s.
    assert (visit.started, visit.alerted, visit.done) == (12.0, 69.0, 77.0)


def test_keda_looks_at_the_stream_when_it_polls() -> None:
    (visit,) = run(KedaSettings(polling_interval_s=5.0), ONE).visits
    assert (visit.started, visit.alerted, visit.done) == (15.0, 69.0, 77.0)


def test_visits_overlap_and_need_a_pod_each() -> None:
    survey = Survey(detectors=1, hours=80 / 3600, pauses=())
    night = run(KedaSettings(), survey)
    # Announced at 0, 37 and 74; the first pod is free at 77, so that a third is there for 3 s of overlap.
    assert [visit.announced for visit in night.visits] == [0.0, 37.0, 74.0]
    assert night.pods_made == 3
    assert all(visit.alerted == visit.image + 12.0 for visit in night.visits)
    # The third visit did not wait for its pod: the first became free before.
    assert night.visits[2].started == 77.0


def test_pods_cost_from_their_making_to_their_end() -> None:
    night = run(KedaSettings(listen_timeout_s=100.0), ONE)
    # Made at 2 s, free at 77 s, ends when the poll after 177 s finds it idle: at 178 s.
    assert night.pod_seconds == 176.0
    assert night.busy_seconds == 65.0


def test_visits_wait_for_pods_where_there_are_too_few() -> None:
    survey = dataclasses.replace(ONE, detectors=2)
    first, second = run(KedaSettings(max_replicas=1), survey).visits
    assert second.started == first.done == 77.0
    # Its image is there already: a second of preload, no waiting.
    assert second.alerted == 90.0


def test_activator_gives_up_visits_that_wait_too_long() -> None:
    survey = dataclasses.replace(ONE, detectors=2)
    visits = run(KnativeSettings(max_scale=1, timeout_s=70.0, initial_scale=1), survey).visits
    assert [visit.lost for visit in visits] == ["", "timed out in the queue"]


def test_activator_refuses_what_its_queue_cannot_hold() -> None:
    survey = dataclasses.replace(ONE, detectors=5)
    visits = run(KnativeSettings(max_scale=1, initial_scale=0, queue_depth=3), survey).visits
    assert [visit.lost for visit in visits].count("refused") == 2


def test_slow_database_makes_visits_wait_for_each_other() -> None:
    survey = dataclasses.replace(ONE, detectors=4)
    visits = run(KedaSettings(), survey, database_connections=1, export_database_s=5.0).visits
    assert sorted(visit.done for visit in visits) == [82.0, 87.0, 92.0, 97.0]


def test_visit_without_an_image_occupies_its_worker_until_the_wait_is_over() -> None:
    survey = Survey(detectors=1, hours=19.5 * 37 / 3600, pauses=(), without_images=2)
    visits = run(KedaSettings(), survey).visits
    assert [number for number, visit in enumerate(visits) if not visit.has_image] == [18, 19]
    # A second of preload, 80 s of waiting, no alerts.
    assert all((visit.done - visit.started, visit.alerted) == (81.0, -1.0) for visit in visits[18:])


def test_visits_underway_follow_from_how_long_each_takes() -> None:
    survey = Survey(detectors=2, hours=80 / 3600, pauses=())
    # Two detectors, 77 s of every 37 s.
    assert run(KedaSettings(), survey).visits_underway(survey) == pytest.approx(2 * 77 / 37)


def test_slower_worker_waits_no_longer_for_images() -> None:
    worker = dataclasses.replace(EXACT, first_visit_s=2.0)
    assert worker.slower(3) == dataclasses.replace(
        worker, preload_s=3.0, first_preload_s=24.0, to_last_alert_s=36.0, first_visit_s=6.0, export_s=24.0
    )


def test_only_the_first_visit_of_a_worker_takes_longer() -> None:
    worker = dataclasses.replace(EXACT, first_visit_s=3.0)
    survey = Survey(detectors=1, hours=60 / 3600, pauses=())
    first, second = Simulation(KedaSettings(max_replicas=1), survey, worker, STILL).run().visits
    assert (first.alerted, first.done) == (57 + 15.0, 80.0)
    # A second of preload; the image is there at 94 s.
    assert (second.started, second.alerted) == (80.0, 94 + 12.0)


@pytest.mark.parametrize("seed", range(3))
def test_every_visit_has_one_end_whatever_fails(seed: int) -> None:
    survey = Survey(detectors=20, hours=0.5, pauses=((0.5, 300.0),))
    cluster = Cluster(node_failures=20.0, pods_per_node=5, node_back_s=60.0)
    for scaling in (KnativeSettings(scale_down_delay_s=120.0), KedaSettings(), KedaSettings(max_replicas=30)):
        night = Simulation(scaling, survey, Worker(), cluster, seed).run()
        assert night.pods_lost > 0
        assert all((visit.done >= 0) != bool(visit.lost) for visit in night.visits)
        assert night.busy_seconds <= night.pod_seconds


def test_visit_of_a_dead_worker_is_anothers_on_a_stream_and_lost_on_knative() -> None:
    survey = Survey(detectors=20, hours=0.5, pauses=())
    cluster = Cluster(node_failures=10.0, pods_per_node=5)
    knative = Simulation(KnativeSettings(), survey, Worker(), cluster).run()
    keda = Simulation(KedaSettings(), survey, Worker(), cluster).run()
    assert {visit.lost for visit in knative.visits} == {"", "worker died"}
    assert {visit.lost for visit in keda.visits} == {""}
    assert max(visit.deliveries for visit in keda.visits) >= 2


def test_the_charts_settings_keep_every_visit_on_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--hours", "0.2", "--detectors", "20", "--processes", "2", "--markdown"]) == 0
    assert "| KEDA, as the charts say |" in capsys.readouterr().out
