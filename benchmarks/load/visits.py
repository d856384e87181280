"""Whole visits: fan-out, stream workers, store and writer, with real messages between them."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lsst.daf.butler import Butler

from prompt_processing.demo.processes import Process, Processes
from prompt_processing.domain.clock import day_obs
from prompt_processing.services.kafka import Kafka
from prompt_processing.services.object_store import ObjectStore
from prompt_processing.services.redis_server import RedisServer
from prompt_processing.tester.publish import Announcer
from prompt_processing.transport.kafka import make_producer

from .content import FIELDS, INSTRUMENT
from .fan_out import WARM_UP, WARM_UP_DETECTORS, fan_out_settings, make_announcement, start_fan_out
from .figures import wait_for
from .raws import RawBucket
from .tasks import DATASETS_OF_A_VISIT
from .world import WORKERS, WRITER, World
from .writer import Entered, start_writer

_AFTER_ANNOUNCEMENT_S = 2.0
"""Simulated exposures take no time; images still come after their announcement."""

_REQUEST = re.compile(r" s3_(?P<operation>\w+) .*? (?P<status>\d{3}) \S+ (?P<sent>\d+) (?P<size>\d+) ")


@dataclass
class Traffic:
    """Bytes and requests of the object store."""

    requests: int = 0
    put_bytes: int = 0


def read_traffic(store: ObjectStore, begin: int) -> Traffic:
    """Add up what the access log has from a position on.

    The store notes the size of what is put; of what is read, only the
    request.
    """
    traffic = Traffic()
    with store.access_log.open() as lines:
        lines.seek(begin)
        for line in lines:
            if (found := _REQUEST.search(line)) is not None:
                traffic.requests += 1
                if found["operation"] == "PutObject":
                    traffic.put_bytes += int(found["size"])
    return traffic


class Night:
    """The processes of one night, and visits through them.

    Parameters
    ----------
    world : `World`
        Servers and repository.
    processes : `Processes`
        Starts them.
    n_workers : `int`
        Stream workers.
    """

    def __init__(self, world: World, processes: Processes, n_workers: int) -> None:
        self._world = world
        kafka = world.stack.service(Kafka)
        self._topic = f"{world.name}-next-visit"
        kafka.create_topics(self._topic, world.writer_topic, f"{world.writer_topic}-entered")
        self._writer = start_writer(world, processes, world.writer_topic)
        settings = fan_out_settings(
            world, "keda", self._topic, "http://127.0.0.1:9", world.stream, world.detectors
        )
        self._fan_out = start_fan_out(processes, f"fan-out-{world.name}", settings)
        self._reports = [world.folder / f"worker-{number}.json" for number in range(n_workers)]
        self._workers = [
            processes.start(
                f"{report.stem}-{world.name}",
                ["python", "-m", f"{__package__}.worker", str(report)],
                world.worker_environment(),
            )
            for report in self._reports
        ]
        wait_for(lambda: all(self._is_ready(worker) for worker in self._workers), "the workers listen", 180)
        self._announcer = Announcer(make_producer(kafka.plain), self._topic, None)
        self._raws = RawBucket(world.stack.service(ObjectStore), world.image_bucket, world.camera)
        self._entered = Entered(world, world.writer_topic)
        self._sequence = 0
        self.expected = 0

    def warm_up(self) -> None:
        """Let the workers learn what holds for the night, by a visit of a few detectors."""
        self._announce(self._world.detectors[:WARM_UP_DETECTORS], WARM_UP)
        wait_for(self._all_entered, "the first outputs are entered", 600, 0.25)

    def run(self, n_visits: int, cadence: float) -> float:
        """Announce visits, and wait until all their outputs are entered.

        Parameters
        ----------
        n_visits : `int`
            Of all detectors.
        cadence : `float`
            Seconds between two; 0 announces them all at once.

        Returns
        -------
        seconds : `float`
            From the first announcement to the last entry.
        """
        begin = time.monotonic()
        for number in range(n_visits):
            if (early := begin + number * cadence - time.monotonic()) > 0:
                time.sleep(early)
            self._announce(self._world.detectors, sal_index=1)
        wait_for(self._all_entered, f"{self.expected} visit-detectors are entered", 3600, 0.25)
        return time.monotonic() - begin

    def outcomes(self) -> Counter[str]:
        """Count the outcomes that the workers have reported."""
        found: Counter[str] = Counter()
        for worker in self._workers:
            for line in worker.log.read_text().splitlines():
                if line.startswith("{") and "outcome" in (record := json.loads(line)):
                    found[str(record["outcome"]["status"])] += 1
        return found

    def stop(self) -> list[dict[str, Any]]:
        """End all processes; return the workers' reports."""
        self._entered.close()
        for process in (self._fan_out, *self._workers, self._writer):
            process.terminate()
        for process in (self._fan_out, *self._workers, self._writer):
            process.wait(120)
        return [json.loads(report.read_text()) for report in self._reports]

    def _announce(self, detectors: Sequence[int], sal_index: int) -> None:
        self._sequence += 1
        field = self._sequence % len(FIELDS)
        group = f"{self._world.name} {self._sequence}"
        self._announcer.publish(make_announcement(group, field, sal_index))
        self.expected += len(detectors)
        time.sleep(_AFTER_ANNOUNCEMENT_S)
        exposure = day_obs(time.time()) * 100_000 + self._sequence
        self._raws.put_visit(detectors, exposure, group, FIELDS[field])

    def _all_entered(self) -> bool:
        for process in (self._fan_out, *self._workers, self._writer):
            process.check()
        return self._entered.count() >= self.expected

    def _is_ready(self, worker: Process) -> bool:
        worker.check()
        return "Ready for visits" in worker.log.read_text()


def measure_visits(
    world: World, processes: Processes, *, n_visits: int, cadence: float, n_workers: int
) -> dict[str, float]:
    """Measure what visits cost those whom all workers share.

    A visit of a few detectors, in which the workers learn what holds for the
    night, is not counted.

    Returns
    -------
    row : `dict`
        Figures a visit-detector, by name.
    """
    store = world.stack.service(ObjectStore)
    counter = world.statements()
    night = Night(world, processes, n_workers)
    night.warm_up()
    warm = night.expected
    before = {user: counter.read(user) for user in (WORKERS, WRITER)}
    log_begin = store.access_log.stat().st_size
    seconds = night.run(n_visits, cadence)
    asked = {user: counter.read(user) - before[user] for user in (WORKERS, WRITER)}
    traffic = read_traffic(store, log_begin)
    n = night.expected - warm
    reports = night.stop()
    outcomes = night.outcomes()
    check_books(world, night.expected, outcomes)
    return {
        "detectors": len(world.detectors),
        "visits": n_visits,
        "cadence": cadence,
        "workers": n_workers,
        "visit_detectors": n,
        "statements_workers": asked[WORKERS].calls / n,
        "statements_writer": asked[WRITER].calls / n,
        "database_ms_workers": 1000 * asked[WORKERS].seconds / n,
        "database_ms_writer": 1000 * asked[WRITER].seconds / n,
        "s3_requests": traffic.requests / n,
        "s3_put_kib": traffic.put_bytes / 1024 / n,
        # Notices of all visits, and the visit's own entry and message.
        "messages": sum(report["notices"] for report in reports) / night.expected + 2,
        "worker_cpu_s": sum(report["cpu"] for report in reports) / night.expected,
        "seconds": seconds,
        "per_second": n / seconds,
    }


def check_books(world: World, n_visit_detectors: int, outcomes: Counter[str]) -> None:
    """Make sure that nothing is lost, doubled or left.

    Raises
    ------
    AssertionError
        Raised with what does not balance.
    """
    assert sum(outcomes.values()) == n_visit_detectors, f"{outcomes} of {n_visit_detectors} visit-detectors"
    with world.stack.service(RedisServer).client() as client:
        assert client.xlen(world.stream) == 0, "visits are left on the stream"
    with Butler.from_config(world.central) as butler:
        records = sum(
            1
            for ref in butler.query_all_datasets(f"{INSTRUMENT}/prompt/*", find_first=False, limit=None)
            if "detector" in ref.datasetType.dimensions
        )
    wanted = n_visit_detectors * DATASETS_OF_A_VISIT
    assert records == wanted, f"{records} outputs in the central repository, not {wanted}"
    left = list(Path(world.folder / "local").glob("butler-*"))
    assert not left, f"local repositories are left: {left}"
