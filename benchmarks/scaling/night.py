"""A night of visits on pods that come and go."""

from __future__ import annotations

import itertools
import random
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import simpy

from .conditions import Cluster, Survey, Worker
from .keda import KedaSettings, jobs_to_create
from .knative import TICK_S, KnativeAutoscaler, KnativeSettings

Steps = Generator[simpy.Event, Any, Any]


@dataclass
class Visit:
    """One detector of one visit, and when what happened to it (s)."""

    announced: float
    image: float
    has_image: bool = True
    started: float = -1.0
    alerted: float = -1.0
    done: float = -1.0
    lost: str = ""
    deliveries: int = 0


@dataclass
class Pod:
    """A worker."""

    number: int
    node: int
    made: float
    ready: bool = False
    leaving: bool = False
    visit: Visit | None = None
    visits: int = 0
    idle_since: float = 0.0
    process: simpy.Process | None = None


@dataclass
class Sample:
    """State of the simulation at one time."""

    now: float
    pods: int
    ready: int
    busy: int
    waiting: int


@dataclass
class Night:
    """What came of a night."""

    visits: list[Visit]
    samples: list[Sample]
    pod_seconds: float = 0.0
    busy_seconds: float = 0.0
    pods_made: int = 0
    pods_lost: int = 0

    def visits_underway(self, survey: Survey) -> float:
        """Return how many visit-detectors were underway on average, pauses not counted."""
        done = [visit.done - visit.announced for visit in self.visits if visit.done >= 0]
        return survey.detectors * sum(done) / len(done) / survey.cadence_s


@dataclass
class _State:
    pods: dict[int, Pod] = field(default_factory=dict)
    idle: deque[Pod] = field(default_factory=deque)
    waiting: deque[Visit] = field(default_factory=deque)
    underway: int = 0
    area: float = 0.0
    area_at: float = 0.0


class Simulation:
    """Pods, visits and what scales them."""

    def __init__(
        self,
        scaling: KnativeSettings | KedaSettings,
        survey: Survey | None = None,
        worker: Worker | None = None,
        cluster: Cluster | None = None,
        seed: int = 1,
    ) -> None:
        self.scaling = scaling
        self.survey, self.worker, self.cluster = survey or Survey(), worker or Worker(), cluster or Cluster()
        self._random = random.Random(seed)
        self._env = simpy.Environment()
        self._database = simpy.Resource(self._env, self.cluster.database_connections)
        self._state = _State()
        self._numbers = itertools.count()
        self._broken_nodes: set[int] = set()
        self.night = Night([], [])

    def run(self) -> Night:
        """Simulate the night and return what came of it."""
        end = self.survey.hours * 3600 + 3600.0
        self._env.process(self._telescope())
        if isinstance(self.scaling, KnativeSettings):
            self._scale_to(self.scaling.initial_scale)
            self._env.process(self._knative(self.scaling))
        else:
            self._env.process(self._keda(self.scaling))
        if self.cluster.node_failures:
            self._env.process(self._fail_nodes())
        self._env.run(until=end)
        for pod in list(self._state.pods.values()):
            self._remove(pod)
        for visit in self.night.visits:
            if not visit.lost and visit.done < 0:
                visit.lost = "not finished by the end"
        return self.night

    # The telescope and the scalers.

    def _telescope(self) -> Steps:
        survey = self.survey
        for number, announced in enumerate(survey.announcements()):
            yield self._env.timeout(announced - self._env.now)
            image = announced + survey.announced_s + survey.exposure_s + survey.transfer_s
            for _ in range(survey.detectors):
                visit = Visit(announced, image, survey.has_image(number))
                self.night.visits.append(visit)
                self._deliver(visit)

    def _knative(self, settings: KnativeSettings) -> Steps:
        autoscaler = KnativeAutoscaler(settings)
        area = 0.0
        for tick in itertools.count(1):
            yield self._env.timeout(1.0)
            total = self._area()
            autoscaler.record(total - area)
            area = total
            self._give_up(settings.timeout_s)
            if tick % TICK_S == 0:
                ready = sum(pod.ready and not pod.leaving for pod in self._state.pods.values())
                self._scale_to(autoscaler.decide(self._env.now, ready))
                self._sample()

    def _keda(self, settings: KedaSettings) -> Steps:
        while True:
            yield self._env.timeout(settings.polling_interval_s)
            pods = [pod for pod in self._state.pods.values() if not pod.leaving]
            for pod in pods:
                idle = pod.ready and pod.visit is None
                if idle and self._env.now - pod.idle_since >= settings.listen_timeout_s:
                    self._remove(pod)
            running = len(self._state.pods)
            pending = sum(not pod.ready for pod in self._state.pods.values())
            new = jobs_to_create(settings, self._state.underway, running, pending)
            for _ in range(new):
                self._make_pod()
            self._sample()

    def _scale_to(self, desired: int) -> None:
        pods = [pod for pod in self._state.pods.values() if not pod.leaving]
        for _ in range(desired - len(pods)):
            self._make_pod()
        # Kubernetes takes pods that are not ready first, then the youngest; it does not know which are busy.
        for pod in sorted(pods, key=lambda pod: (pod.ready, -pod.made))[: max(0, len(pods) - desired)]:
            pod.leaving = True
            if pod.visit is None:
                self._remove(pod)

    # Pods.

    def _make_pod(self) -> None:
        node = self._node_with_room()
        if node is None:
            return
        pod = Pod(next(self._numbers), node, self._env.now)
        self._state.pods[pod.number] = pod
        self.night.pods_made += 1
        pod.process = self._env.process(self._start(pod))

    def _node_with_room(self) -> int | None:
        used: dict[int, int] = {}
        for pod in self._state.pods.values():
            used[pod.node] = used.get(pod.node, 0) + 1
        limit = self.cluster.nodes or len(self._state.pods) // self.cluster.pods_per_node + 2 + len(used)
        candidates = [node for node in range(limit) if node not in self._broken_nodes]
        return next((node for node in candidates if used.get(node, 0) < self.cluster.pods_per_node), None)

    def _start(self, pod: Pod) -> Steps:
        cluster = self.cluster
        try:
            yield self._env.timeout(self._spread(cluster.cold_start_s, cluster.cold_start_spread))
        except simpy.Interrupt:
            return
        pod.ready = True
        self._release(pod)

    def _release(self, pod: Pod) -> None:
        pod.idle_since = self._env.now
        if pod.leaving:
            self._remove(pod)
        elif self._state.waiting:
            self._take(pod, self._state.waiting.popleft())
        else:
            self._state.idle.append(pod)

    def _remove(self, pod: Pod) -> None:
        if self._state.pods.pop(pod.number, None) is None:
            return
        self.night.pod_seconds += self._env.now - pod.made
        if pod in self._state.idle:
            self._state.idle.remove(pod)
        pod.leaving = True
        process = pod.process
        if process is not None and process.is_alive and process is not self._env.active_process:
            process.interrupt()

    def _fail_nodes(self) -> Steps:
        seconds = self.survey.hours * 3600.0
        while True:
            yield self._env.timeout(self._random.expovariate(self.cluster.node_failures / seconds))
            nodes = sorted({pod.node for pod in self._state.pods.values()})
            if not nodes:
                continue
            node = self._random.choice(nodes)
            for pod in [pod for pod in self._state.pods.values() if pod.node == node]:
                self.night.pods_lost += 1
                visit = pod.visit
                self._remove(pod)
                if visit is not None:
                    self._lose_worker(visit)
            self._broken_nodes.add(node)
            self._env.process(self._mend(node))

    def _mend(self, node: int) -> Steps:
        yield self._env.timeout(self.cluster.node_back_s)
        self._broken_nodes.discard(node)

    def _lose_worker(self, visit: Visit) -> None:
        if isinstance(self.scaling, KedaSettings):
            self._env.process(self._claim(visit, self.scaling.claim_idle_s))
        else:
            # The fan-out cannot know whether the APDB was written: such a visit is not sent again.
            self._lose(visit, "worker died")

    def _claim(self, visit: Visit, idle_s: float) -> Steps:
        yield self._env.timeout(idle_s)
        if visit.alerted >= 0:
            # The APDB has it: the next worker finds that out and does no more.
            self._end(visit)
        elif visit.deliveries >= 3:
            self._lose(visit, "delivered three times")
        else:
            self._enter(visit)

    # Visits.

    def _deliver(self, visit: Visit) -> None:
        waiting = len(self._state.waiting)
        if isinstance(self.scaling, KnativeSettings) and waiting >= self.scaling.queue_depth:
            visit.lost = "refused"
            return
        self._area()
        self._state.underway += 1
        self._enter(visit)

    def _enter(self, visit: Visit) -> None:
        if self._state.idle:
            self._take(self._state.idle.popleft(), visit)
        else:
            self._state.waiting.append(visit)

    def _take(self, pod: Pod, visit: Visit) -> None:
        pod.visit = visit
        visit.deliveries += 1
        visit.started = self._env.now
        pod.process = self._env.process(self._work(pod, visit))

    def _work(self, pod: Pod, visit: Visit) -> Steps:
        worker, cluster, env = self.worker, self.cluster, self._env
        began = env.now
        try:
            yield from self._ask_database(cluster.preload_database_s)
            preload = worker.preload_s if pod.visits else worker.first_preload_s
            yield env.timeout(self._spread(max(0.0, preload - cluster.preload_database_s), worker.spread))
            if visit.has_image:
                yield env.timeout(max(0.0, visit.image - env.now))
                first = 0.0 if pod.visits else worker.first_visit_s
                yield env.timeout(self._spread(worker.to_last_alert_s + first, worker.spread))
                visit.alerted = env.now
                yield env.timeout(self._spread(worker.export_s, worker.spread))
                yield from self._ask_database(cluster.export_database_s)
            else:
                yield env.timeout(worker.image_wait_s)
        except simpy.Interrupt:
            return
        finally:
            self.night.busy_seconds += env.now - began
        pod.visits += 1
        pod.visit = None
        self._end(visit)
        self._release(pod)

    def _ask_database(self, seconds: float) -> Steps:
        if seconds:
            with self._database.request() as connection:
                yield connection
                yield self._env.timeout(self._spread(seconds, self.worker.spread))

    def _end(self, visit: Visit) -> None:
        self._area()
        self._state.underway -= 1
        visit.done = self._env.now

    def _lose(self, visit: Visit, reason: str) -> None:
        self._area()
        self._state.underway -= 1
        visit.lost = reason

    def _give_up(self, timeout_s: float) -> None:
        waiting = self._state.waiting
        while waiting and self._env.now - waiting[0].announced > timeout_s:
            self._lose(waiting.popleft(), "timed out in the queue")

    # Measures.

    def _area(self) -> float:
        """Return the number of visits underway, integrated over time until now."""
        state, now = self._state, self._env.now
        state.area += state.underway * (now - state.area_at)
        state.area_at = now
        return state.area

    def _sample(self) -> None:
        pods = self._state.pods.values()
        ready = sum(pod.ready for pod in pods)
        busy = sum(pod.visit is not None for pod in pods)
        sample = Sample(self._env.now, len(pods), ready, busy, len(self._state.waiting))
        self.night.samples.append(sample)

    def _spread(self, mean: float, spread: float) -> float:
        return mean * self._random.lognormvariate(-spread * spread / 2, spread) if mean > 0 else 0.0
