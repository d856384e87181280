"""How many alerts a worker sends a second, and whether any is lost when the broker or the worker restarts."""

from __future__ import annotations

import json
import time
import uuid
from pathlib import Path

from prompt_processing.demo.processes import Process, Processes
from prompt_processing.services.kafka import Kafka
from prompt_processing.services.service import HOST
from prompt_processing.transport.kafka import make_consumer

from .figures import Figure, Measured, Ratio, wait_for
from .world import World

_TARGET_PER_SECOND = 1000.0


def measure_alerts(
    world: World, measured: Measured, processes: Processes, n_sources: int, *, restarts: bool
) -> None:
    """Measure one worker's alerts, from the catalogues and images in memory to the last acknowledgement.

    Parameters
    ----------
    world : `World`
        Servers.
    measured : `Measured`
        Takes the figures.
    processes : `Processes`
        Starts the sender.
    n_sources : `int`
        Alerts of a visit-detector.
    restarts : `bool`
        Whether to restart the broker and the worker in the middle, too.
    """
    kafka = world.stack.service(Kafka)
    topic = f"{world.name}-alerts"
    kafka.create_topics(topic)
    sender = _start(world, processes, topic, "steady", n_sources, visits=4)
    sender.wait(600)
    steady = _report(world, "steady")
    n_expected = len(_seen(world, topic))
    assert n_expected == steady["made"] == steady["sent"], f"{n_expected} alerts in the topic of {steady}"
    measured.figures += [
        Figure(
            "alerts from one worker, each acknowledged",
            steady["rate"],
            "1/s",
            _TARGET_PER_SECOND,
            at_least=True,
        ),
        Figure("alerts: CPU of the worker an alert", steady["cpu"] / steady["made"] * 1000, "ms"),
        Figure("alerts: size", steady["bytes"] / steady["made"] / 1000, "kB"),
    ]
    measured.ratios.append(
        Ratio(
            "alerts a second",
            steady["rate"],
            "confluent_kafka, a flush each",
            steady["flushed_rate"],
            "1/s",
            more_is_better=True,
        )
    )
    if restarts:
        for what in ("broker", "worker"):
            lost = _lost_in_restart(world, processes, f"{topic}-{what}", what, n_sources)
            measured.figures.append(
                Figure(
                    f"alerts lost when the {what} restarts in the middle, after prompt-resend-alerts",
                    lost,
                    "",
                    0,
                )
            )


def _lost_in_restart(world: World, processes: Processes, topic: str, what: str, n_sources: int) -> int:
    world.stack.service(Kafka).create_topics(topic)
    sender = _start(world, processes, topic, what, n_sources, visits=8, paced=True)
    begun = world.folder / f"{what}.begun"
    wait_for(begun.exists, "the worker sends alerts", 180)
    wait_for(lambda: len(_seen(world, topic, 0.5)) > 0, "the first alerts are there", 60)
    if what == "broker":
        server = world.stack.server(Kafka)
        server.kill()
        time.sleep(3.0)
        world.stack.start(Kafka)
    else:
        sender.terminate()
    sender.wait(600)
    made = set(json.loads((world.folder / f"{what}.made").read_text()))
    resend = processes.start(f"resend-{what}", ["prompt-resend-alerts"], _settings(world, topic, what))
    assert resend.wait(300) in (0, None), resend.log_tail()
    return len(made - set(_seen(world, topic)))


def _settings(world: World, topic: str, name: str) -> dict[str, str]:
    kafka = world.stack.service(Kafka)
    return {
        **world.environment("workers"),
        "AP_KAFKA_SERVER": f"{HOST}:{kafka.sasl_port}",
        "AP_KAFKA_TOPIC": topic,
        "AP_KAFKA_PRODUCER_USERNAME": kafka.username,
        "AP_KAFKA_PRODUCER_PASSWORD": kafka.password,
        "ALERT_KEEP_DIR": str(world.folder / f"kept-{name}"),
    }


def _start(
    world: World,
    processes: Processes,
    topic: str,
    name: str,
    n_sources: int,
    *,
    visits: int,
    paced: bool = False,
) -> Process:
    command = [
        "python",
        "-m",
        f"{__package__}.alert_worker",
        str(world.folder),
        name,
        str(n_sources),
        str(visits),
    ]
    return processes.start(f"alerts-{name}", [*command, str(int(paced))], _settings(world, topic, name))


def _report(world: World, name: str) -> dict[str, float]:
    path: Path = world.folder / f"{name}.report"
    assert path.exists(), "the worker that sends alerts has failed; see its log"
    return dict(json.loads(path.read_text()))


def _seen(world: World, topic: str, patience: float = 5.0) -> list[int]:
    """Return the ids of all alerts of a topic, once each; it ends when none has come for a while."""
    consumer = make_consumer(
        world.stack.service(Kafka).plain,
        f"count-{uuid.uuid4()}",
        auto_offset_reset="earliest",
        enable_partition_eof=True,
    )
    found: set[int] = set()
    try:
        consumer.subscribe([topic])
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            message = consumer.poll(patience)
            if message is None:
                continue
            if message.error() is not None:
                # The end of the only partition, or a broker that is not back yet.
                if found or patience < 1:
                    break
                continue
            found.add(alert_id(message.value()))
            deadline = time.monotonic() + 30
    finally:
        consumer.close()
    return sorted(found)


def alert_id(message: bytes) -> int:
    """Read the diaSourceId, the first field of an alert, behind the five bytes of the frame."""
    value = shift = 0
    for byte in message[5:]:
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            break
    return (value >> 1) ^ -(value & 1)
