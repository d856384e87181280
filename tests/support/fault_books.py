"""Checks that must pass after any fault."""

from __future__ import annotations

import io
import time
from collections import Counter
from contextlib import suppress
from typing import Any

import fastavro
import requests
from confluent_kafka import TopicPartition
from fault_pipeline import N_SOURCES
from fault_process import RunningWorker
from fault_servers import APDB_NAMESPACE, CENTRAL_BUCKET
from fault_world import FaultWorld
from lsst.alert.packet import Schema
from lsst.daf.butler import Butler

from prompt_processing.alerts.files import kept_files, read_alerts, underway_files
from prompt_processing.alerts.resending import settle_underway
from prompt_processing.apdb.preloaded_catalogs import open_apdb
from prompt_processing.butler_writer.unfinished import finish_exports
from prompt_processing.transport.kafka import make_consumer

NIGHT_OUTPUTS = "LSSTCam/prompt/*"


def balance(world: FaultWorld) -> None:
    """Stop all workers in order, and run every check; servers must be available again."""
    _check_workers_end(world)
    _enter_all_outputs(world)
    # The nightly command's work, after the timeout of a dead worker's visit.
    with Butler.from_config(world.central_uri, writeable=True) as butler:
        assert finish_exports(butler, 1.0, older_than=-60.0).left == 0, world.logs()
    finals = _check_outcomes(world)
    written = _check_apdb(world)
    _check_alerts(world, finals, written)
    _check_central(world, finals)
    left = sorted(path.name for path in world.local.glob("butler-*"))
    assert not left, f"local repositories are left: {left}"


def _check_workers_end(world: FaultWorld) -> None:
    for worker in world.workers:
        if not worker.runs:
            continue
        _check_idle(world, worker)
        assert worker.terminate() == 0, f"a worker did not end in order\n{world.logs()}"


def _check_idle(world: FaultWorld, worker: RunningWorker) -> None:
    if worker.health_port:
        text = requests.get(f"http://127.0.0.1:{worker.health_port}/metrics", timeout=5).text
        busy = 'prompt_instances_processing{instrument="LSSTCam"} 1.0'
        assert busy not in text, f"a worker is stuck\n{world.logs()}"
    elif world.sent:
        world.wait_until(world.stream_is_settled, "the stream is not settled", 60.0)


def _enter_all_outputs(world: FaultWorld) -> None:
    """Let a writer read the topic of outputs to its end."""
    if not world.through_writer:
        return
    if not any(writer.runs for writer in world.writers):
        world.start_writer()

    def read() -> bool:
        consumer = make_consumer(world.servers.kafka.plain, "butler-writer", enable_auto_commit=False)
        try:
            partition = TopicPartition(world.outputs_topic, 0)
            _, end = consumer.get_watermark_offsets(partition, timeout=10)
            (committed,) = consumer.committed([partition], timeout=10)
            return bool(end == 0 or committed.offset >= end)
        finally:
            consumer.close()

    # A writer that is not ready cannot yet end in order.
    world.wait_until(
        lambda: all(writer.says("Ready for messages") for writer in world.writers if writer.runs),
        "the writer is not ready",
    )
    world.wait_until(read, "the writer does not come to the end of its topic")
    for writer in world.writers:
        if writer.runs:
            assert writer.terminate() == 0, world.logs()


def _check_outcomes(world: FaultWorld) -> dict[tuple[str, int], dict[str, Any]]:
    """Check that every visit has exactly one outcome: the worker's, or the sender's if its worker died."""
    finals: dict[tuple[str, int], list[dict[str, Any]]] = {}
    retriable: Counter[tuple[str, int]] = Counter()
    for worker in world.workers:
        for record in worker.outcomes():
            key = (record.get("group", "?"), record.get("detector", -1))
            if record["outcome"]["status"] == "retriable":
                retriable[key] += 1
            else:
                finals.setdefault(key, []).append(record["outcome"])
    for visit in {(visit.groupId, visit.detector): visit for visit in world.sent}.values():
        key = (visit.groupId, visit.detector)
        of_workers = [outcome["status"] for outcome in finals.get(key, [])]
        answers = world.answers.get(key, [])
        # A visit that was sent several times is recorded once for each delivery.
        of_sender = [answer for answer in answers if answer in ("unreachable", "503")]
        sent = sum((one.groupId, one.detector) == key for one in world.sent)
        expected = max(sent, len(answers))
        message = f"{key}: workers recorded {of_workers}, senders were answered {answers}\n{world.logs()}"
        assert len(of_workers) + len(of_sender) == expected, message
        assert of_workers.count("processed") <= 1, message
    return {
        key: next((one for one in outcomes if one["status"] == "processed"), outcomes[0])
        for key, outcomes in finals.items()
    }


def _check_apdb(world: FaultWorld) -> dict[tuple[int, int], set[int]]:
    """Check that no visit-detector is in the APDB twice or in part."""
    with world.servers.postgresql.connect(world.database) as connection:
        rows = connection.execute(
            f'SELECT visit, detector, "diaSourceId", "timeProcessedMjdTai" FROM {APDB_NAMESPACE}."DiaSource"'
        ).fetchall()
        forced = connection.execute(
            f'SELECT visit, detector, count(*), count(DISTINCT "diaObjectId")'
            f' FROM {APDB_NAMESPACE}."DiaForcedSource" GROUP BY visit, detector'
        ).fetchall()
    written: dict[tuple[int, int], set[int]] = {}
    times: dict[tuple[int, int], set[float]] = {}
    for visit, detector, source, processed in rows:
        written.setdefault((visit, detector), set()).add(source)
        times.setdefault((visit, detector), set()).add(processed)
    for key, sources in written.items():
        assert len(sources) == N_SOURCES, f"{key} has {len(sources)} DiaSources"
        assert len(times[key]) == 1, f"{key} was written {len(times[key])} times"
    for visit, detector, count, distinct in forced:
        assert count == distinct, f"forced sources of {(visit, detector)} are duplicated"
    return written


def _check_alerts(
    world: FaultWorld,
    finals: dict[tuple[str, int], dict[str, Any]],
    written: dict[tuple[int, int], set[int]],
) -> None:
    """Check that every DiaSource in the APDB, and nothing else, has an alert sent or kept."""
    sent, kept = alerts_sent(world), alerts_kept(world)
    everything = {source for sources in written.values() for source in sources}
    assert sent | kept <= everything, "some alerts are not in the APDB"
    missing = everything - sent - kept
    assert not missing, f"{len(missing)} alerts are neither sent nor kept\n{world.logs()}"
    assert not underway_files(world.kept), "the alerts of a dead worker are not judged"
    for (group, detector), outcome in finals.items():
        if outcome["status"] != "processed":
            continue
        for exposure in outcome["exposures"]:
            assert written.get((exposure, detector)), f"{group}, {detector} is processed and not in the APDB"


def alerts_sent(world: FaultWorld) -> set[int]:
    """Return DiaSources whose alert is on the topic."""
    consumer = make_consumer(
        world.servers.kafka.plain,
        f"books-{time.time_ns()}",
        auto_offset_reset="earliest",
        enable_partition_eof=True,
    )
    schema = Schema.from_file().definition
    found = set()
    try:
        consumer.subscribe([world.alerts_topic])
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            message = consumer.poll(0.5)
            if message is None:
                continue
            if message.error() is not None:
                break
            found.add(_dia_source(message.value() or b"", schema))
        else:
            raise AssertionError("the topic of alerts cannot be read to its end")
    finally:
        consumer.close()
    return found


def alerts_kept(world: FaultWorld) -> set[int]:
    """Return DiaSources whose alert is in the local directory, after those of dead workers are judged."""
    settle_underway(world.kept, lambda: open_apdb(world.apdb_uri))
    schema = Schema.from_file().definition
    paths = (*kept_files(world.kept), *underway_files(world.kept))
    with suppress(FileNotFoundError):
        return {_dia_source(alert.message, schema) for path in paths for alert in read_alerts(path)}
    # A worker may have just sent some of them.
    return alerts_kept(world)


def _dia_source(message: bytes, schema: Any) -> int:
    alert: Any = fastavro.schemaless_reader(io.BytesIO(message[5:]), schema)
    return int(alert["diaSource"]["diaSourceId"])


def _check_central(world: FaultWorld, finals: dict[tuple[str, int], dict[str, Any]]) -> None:
    """Check that files and records correspond, and that all delivered outputs exist."""
    with Butler.from_config(world.central_uri) as butler:
        refs = butler.query_all_datasets("*", find_first=False, limit=None)
        uris = butler.get_many_uris(refs).values() if refs else []
        recorded = {uri.primaryURI.geturl() for uri in uris if uri.primaryURI is not None}
        outputs = butler.query_all_datasets(NIGHT_OUTPUTS, find_first=False, limit=None)
    keys = _keys(world)
    there = {f"s3://{CENTRAL_BUCKET}/{key}" for key in keys}
    assert there - recorded == set(), f"files without a record\n{world.logs()}"
    assert recorded - there == set(), f"records without a file\n{world.logs()}"
    for (group, detector), outcome in finals.items():
        if outcome["status"] != "processed":
            continue
        visits = set(outcome["exposures"])
        mine = [
            ref
            for ref in outputs
            if ref.dataId.get("detector") == detector
            and (
                ref.dataId.get("visit") in visits
                or ref.dataId.get("exposure") in visits
                or ref.dataId.get("group") == group
            )
        ]
        message = f"{group}, {detector}: {len(mine)} of {outcome['exported']} outputs\n{world.logs()}"
        assert len(mine) == outcome["exported"], message


def _keys(world: FaultWorld) -> list[str]:
    client = world.servers.store.client()
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=CENTRAL_BUCKET)
    return [item["Key"] for page in pages for item in page.get("Contents", []) if item["Key"][-1] != "/"]
