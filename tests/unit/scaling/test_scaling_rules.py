"""The rules of Knative's and KEDA's autoscalers, against cases computed by hand from their sources."""

import pytest
from scaling.keda import KedaSettings, jobs_to_create
from scaling.knative import KnativeAutoscaler, KnativeSettings, WindowAverage


def feed(autoscaler: KnativeAutoscaler, concurrency: float, seconds: int) -> None:
    for _ in range(seconds):
        autoscaler.record(concurrency)


def test_window_averages_over_what_it_has_until_it_is_full() -> None:
    window = WindowAverage(4)
    for value, expected in ((8, 8.0), (0, 4.0), (4, 4.0), (0, 3.0), (0, 1.0), (0, 1.0), (0, 0.0)):
        window.record(value)
        assert window.value() == expected


def test_steady_load_has_one_pod_a_request() -> None:
    autoscaler = KnativeAutoscaler(KnativeSettings())
    feed(autoscaler, 10, 60)
    assert autoscaler.decide(60, ready_pods=10) == 10
    assert not autoscaler.panicking


def test_utilization_below_one_keeps_pods_in_reserve() -> None:
    # 10 requests at 0.7 a pod: 14.3 pods.
    autoscaler = KnativeAutoscaler(KnativeSettings(target_utilization=0.7))
    feed(autoscaler, 10, 60)
    assert autoscaler.decide(60, ready_pods=15) == 15


def test_burst_begins_a_panic_that_counts_the_short_window_only() -> None:
    autoscaler = KnativeAutoscaler(KnativeSettings())
    feed(autoscaler, 4, 54)
    feed(autoscaler, 189, 6)
    # Stable: (54 * 4 + 6 * 189) / 60 = 22.5; panic: 189, 47 times what 4 pods can take.
    assert autoscaler.decide(60, ready_pods=4) == 189
    assert autoscaler.panicking


def test_below_twice_the_capacity_there_is_no_panic() -> None:
    autoscaler = KnativeAutoscaler(KnativeSettings())
    feed(autoscaler, 100, 54)
    feed(autoscaler, 189, 6)
    # (54 * 100 + 6 * 189) / 60 = 108.9; 189 is 1.89 times 100.
    assert autoscaler.decide(60, ready_pods=100) == 109
    assert not autoscaler.panicking


def test_panic_never_takes_pods_away_and_ends_a_stable_window_after_the_last_burst() -> None:
    autoscaler = KnativeAutoscaler(KnativeSettings())
    feed(autoscaler, 189, 6)
    assert autoscaler.decide(6, ready_pods=1) == 189
    feed(autoscaler, 0, 60)
    assert autoscaler.decide(66, ready_pods=189) == 189
    # More than 60 s after 6: stable 0, but not below the half of 189 pods at a time.
    assert autoscaler.decide(66.1, ready_pods=189) == 94
    assert not autoscaler.panicking


def test_at_most_half_of_the_pods_go_at_a_time() -> None:
    autoscaler = KnativeAutoscaler(KnativeSettings())
    feed(autoscaler, 1, 60)
    assert autoscaler.decide(60, ready_pods=101) == 50
    assert autoscaler.decide(62, ready_pods=1) == 1


def test_growth_is_a_thousandfold_at_most() -> None:
    autoscaler = KnativeAutoscaler(KnativeSettings())
    feed(autoscaler, 5000, 6)
    assert autoscaler.decide(6, ready_pods=0) == 1000


def test_delayed_scale_down_stays_at_the_most_of_the_delay() -> None:
    autoscaler = KnativeAutoscaler(KnativeSettings(scale_down_delay_s=100))
    feed(autoscaler, 40, 60)
    assert autoscaler.decide(60, ready_pods=40) == 40
    feed(autoscaler, 30, 60)
    assert autoscaler.decide(120, ready_pods=40) == 40
    assert autoscaler.decide(159, ready_pods=40) == 40
    assert autoscaler.decide(161, ready_pods=40) == 30


def test_limits_of_the_service_have_the_last_word() -> None:
    limited = KnativeAutoscaler(KnativeSettings(min_scale=5, max_scale=20))
    feed(limited, 189, 6)
    assert limited.decide(6, ready_pods=5) == 20
    idle = KnativeAutoscaler(KnativeSettings(min_scale=5))
    feed(idle, 0, 60)
    assert idle.decide(60, ready_pods=5) == 5


def test_last_pod_is_retained() -> None:
    autoscaler = KnativeAutoscaler(KnativeSettings(retention_s=100))
    feed(autoscaler, 1, 60)
    assert autoscaler.decide(60, ready_pods=1) == 1
    feed(autoscaler, 0, 60)
    assert autoscaler.decide(120, ready_pods=1) == 1
    assert autoscaler.decide(160, ready_pods=1) == 0


@pytest.mark.parametrize(
    ("settings", "on_stream", "running", "pending", "expected"),
    [
        # default: what is on the stream, less what runs.
        (KedaSettings(), 0, 0, 0, 0),
        (KedaSettings(max_replicas=300), 189, 0, 0, 189),
        (KedaSettings(max_replicas=300), 189, 189, 189, 0),
        (KedaSettings(max_replicas=300), 378, 189, 0, 111),
        (KedaSettings(max_replicas=300, stream_length=2), 189, 0, 0, 95),
        # The pods that are always there are not counted as running, so that there are as many more.
        (KedaSettings(max_replicas=300, min_replicas=10), 189, 10, 0, 189),
        (KedaSettings(min_replicas=10), 0, 4, 0, 6),
        # accurate: for visits that leave the stream when they are taken; here it makes a worker twice.
        (KedaSettings(strategy="accurate", max_replicas=600), 189, 189, 0, 189),
        (KedaSettings(strategy="accurate", max_replicas=600), 189, 189, 189, 0),
        (KedaSettings(strategy="accurate", max_replicas=300), 189, 189, 0, 111),
        # eager: fills up to the limit.
        (KedaSettings(strategy="eager", max_replicas=300), 189, 60, 20, 189),
        (KedaSettings(strategy="eager", max_replicas=300), 189, 200, 50, 50),
        (KedaSettings(strategy="eager", max_replicas=300), 10, 300, 0, 0),
    ],
)
def test_keda_makes_as_many_workers_as_its_strategy_says(
    settings: KedaSettings, on_stream: int, running: int, pending: int, expected: int
) -> None:
    assert jobs_to_create(settings, on_stream, running, pending) == expected
