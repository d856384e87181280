"""`prompt watch` loses no image and doubles none, whenever its process is killed."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import butler_world as world
import fastavro
import fault_pipeline
import numpy as np
import pytest
from fault_nursery import ForkedProcess, Nursery
from file_costs import counted
from lsst.daf.butler import Butler

from prompt_processing.butler.types import use_butler_types
from prompt_processing.watch.journal import Entry, FileState, Journal

pytestmark = pytest.mark.integration

IMAGES = 8
KILLS = 10


class WatchedFolder:
    """A folder of raws, and the processes that process it."""

    def __init__(self, folder: Path, nursery: Nursery) -> None:
        self.folder = folder
        self._nursery = nursery
        self._gates = folder / "gates"
        self._gates.mkdir()
        world.write_pipelines(folder / "pipelines", fault_pipeline.TASKS)

    def put_raws(self, number: int) -> None:
        camera = world.small_camera()
        for n in range(number):
            path = world.write_raw(
                self.folder / "incoming" / str(n), camera, exposure=world.EXPOSURE + n, group=f"group {n}"
            )
            then = time.time() - 600 + n
            os.utime(path, (then, then))

    def start(self) -> ForkedProcess:
        environment = {**os.environ, "FAULT_GATES": str(self._gates)}
        return self._nursery.start("watch", environment, self.folder, self.folder / "log")

    def finish(self) -> None:
        """Process what is left."""
        assert self.start().wait(900) == 0, (self.folder / "log").read_text()[-3000:]

    def kill_at(self, gate: str) -> None:
        """Start a process, and kill it at a gate."""
        (self._gates / f"closed-{gate}").touch()
        process = self.start()
        deadline = time.monotonic() + 300
        while not (self._gates / f"at-{gate}").exists():
            assert process.poll() is None, (self.folder / "log").read_text()[-3000:]
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait(20)
        (self._gates / f"closed-{gate}").unlink()

    def entries(self) -> list[Entry]:
        with Journal(self.folder / "work" / "journal.db") as journal:
            return list(journal.entries())

    def alerts(self) -> Counter[int]:
        """Return how often there is an alert of each exposure."""
        found: Counter[int] = Counter()
        ids = []
        for path in sorted((self.folder / "work" / "alerts").glob("*.avro")):
            with path.open("rb") as file:
                for alert in fastavro.reader(file):
                    record: dict = alert  # type: ignore[type-arg]
                    found[record["diaSource"]["visit"]] += 1
                    ids.append(record["diaSourceId"])
        assert len(set(ids)) == len(ids)
        return found

    def in_apdb(self) -> Counter[int]:
        """Return the number of sources of each exposure in the APDB."""
        with sqlite3.connect(self.folder / "work" / "apdb.db") as database:
            return Counter(dict(database.execute('SELECT visit, count(*) FROM "DiaSource" GROUP BY visit')))

    def outputs(self) -> Counter[int]:
        """Return the number of exported difference images of each exposure."""
        use_butler_types()
        with Butler.from_config(str(self.folder / "central")) as butler:
            refs = butler.query_datasets(
                "difference_image", f"{world.INSTRUMENT}/prompt/*", find_first=False, explain=False
            )
        return Counter(int(ref.dataId["visit"]) for ref in refs)


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    made = Nursery(tmp_path_factory.mktemp("nursery"))
    with counted(made.pid):
        yield made
    made.close()


@pytest.fixture
def watched(central_folder: Path, nursery: Nursery) -> WatchedFolder:
    return WatchedFolder(central_folder, nursery)


def test_no_image_is_lost_or_doubled_by_kills_at_random_moments(watched: WatchedFolder) -> None:
    watched.put_raws(IMAGES)
    rng = np.random.default_rng()
    seconds = rng.uniform(0.3, 3.0, KILLS)
    for pause in seconds:
        process = watched.start()
        time.sleep(float(pause))
        process.send_signal(signal.SIGKILL)
        process.wait(20)
    watched.finish()
    exposures = [world.EXPOSURE + n for n in range(IMAGES)]
    entries = watched.entries()
    assert sorted(entry.exposure or 0 for entry in entries) == exposures, seconds
    assert {entry.state for entry in entries} == {FileState.DONE}, [entry.reason for entry in entries]
    expected = Counter(dict.fromkeys(exposures, fault_pipeline.N_SOURCES))
    assert watched.in_apdb() == expected, seconds
    assert watched.alerts() == expected, seconds
    assert watched.outputs() == Counter(exposures), seconds


@pytest.mark.parametrize("gate", ["alerts", "sending", "exported"])
def test_alerts_survive_a_process_that_dies_after_the_commit(watched: WatchedFolder, gate: str) -> None:
    watched.put_raws(2)
    watched.kill_at(gate)
    watched.finish()
    expected = Counter({world.EXPOSURE + n: fault_pipeline.N_SOURCES for n in range(2)})
    assert watched.in_apdb() == expected
    assert watched.alerts() == expected
    assert {entry.state for entry in watched.entries()} == {FileState.DONE}
    assert watched.outputs() == Counter(expected.keys())
    assert list((watched.folder / "work" / "unsent-alerts").rglob("*.avro")) == []
