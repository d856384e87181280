"""``prompt replay``: send a night's announcements and arrival notices again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from prompt_processing.cli.command import Command, option
from prompt_processing.cli.options import NIGHT, log_to_stderr

if TYPE_CHECKING:
    from prompt_processing.reprocessing.replay.planning import Sending
    from prompt_processing.reprocessing.replay.recording import Recorded

_FROM, _TO = "What is replayed", "Where it is sent"
_SHOWN = 30


@click.command(
    cls=Command,
    settings="prompt_processing.tester.settings:EventStreamSettings",
    examples="""
    prompt replay 2026-11-28 --write night.jsonl                       # record it from Kafka
    prompt replay 2026-11-28 --recording night.jsonl --speed 10        # what would be sent
    prompt replay 2026-11-28 --recording night.jsonl --speed 10 --to visits-test --notices-to arrivals-test
    """,
    statuses={1: "the night has no messages, or Kafka is unavailable", 130: "interrupted"},
)
@click.argument("night", type=NIGHT, help="Observing day.")
@option(
    "--recording",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File of recorded messages.  [default: the topics of the event stream]",
    section=_FROM,
)
@option(
    "--write",
    "record",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Record the night into this file.",
    section=_FROM,
)
@option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="Times faster than the night.",
    section=_FROM,
)
@option(
    "--longest-pause",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Longest time between two messages.  [default: as at night]",
    section=_FROM,
)
@option("--to", default="", metavar="TOPIC", help="Topic for the announcements.", section=_TO)
@option(
    "--notices-to",
    default="",
    metavar="TOPIC",
    help="Topic for the arrival notices.  [default: none are sent]",
    section=_TO,
)
@option(
    "--to-cluster",
    default="",
    metavar="HOST:PORT",
    help="Cluster of these topics.  [default: KAFKA_CLUSTER]",
    section=_TO,
)
@option("--dry-run", is_flag=True, help="List what would be sent, and send nothing.")
def main(
    night: str,
    recording: Path | None,
    record: Path | None,
    speed: float,
    longest_pause: float | None,
    to: str,
    notices_to: str,
    to_cluster: str,
    dry_run: bool,
) -> int:
    """Send a night's announcements and arrival notices again, for load tests and rehearsals.

    Each message gets the time of its sending; groups, objects and their order stay. Without --to, nothing is
    sent. The deployment needs the images in its bucket, and an APDB without these visits, since it processes
    no visit twice.
    """
    from prompt_processing.domain.errors import RepositoryProblemError
    from prompt_processing.reprocessing.replay.planning import plan_replay
    from prompt_processing.reprocessing.replay.recording import of_night, read_recording, write_recording
    from prompt_processing.settings.environment import SettingsError

    log_to_stderr()
    try:
        if recording is None and to:
            _refuse_own_topics(to, notices_to, to_cluster)
        messages = of_night(read_recording(recording) if recording else _of_topics(night), night)
    except (RepositoryProblemError, SettingsError, OSError) as error:
        raise click.ClickException(str(error)) from error
    if not messages:
        raise click.ClickException(f"There are no messages of the night {night}.")
    if record is not None:
        click.echo(f"Recorded {write_recording(record, messages)} messages in {record}.")
        if not to:
            return 0
    plan = plan_replay(messages, speed, longest_pause)
    if dry_run or not to:
        _show(plan)
        if not dry_run:
            click.echo("Nothing was sent: name the topic of the announcements with --to.")
        return 0
    return _send(plan, speed, to, notices_to, to_cluster)


def _of_topics(night: str) -> list[Recorded]:
    from datetime import UTC, datetime

    from prompt_processing.fanout.messages import decode_next_visit
    from prompt_processing.reprocessing.replay.topics import read_topics
    from prompt_processing.tester.settings import EventStreamSettings

    settings = EventStreamSettings.load()
    registry = settings.schema_registry
    since = datetime.strptime(night, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
    return list(
        read_topics(
            settings.kafka,
            settings.next_visit_topic,
            settings.bucket_topic,
            lambda message: decode_next_visit(message, registry),
            since,
        )
    )


def _refuse_own_topics(to: str, notices_to: str, to_cluster: str) -> None:
    """Refuse to send into the topics that are read: they would then have each visit of the night twice."""
    from prompt_processing.tester.settings import EventStreamSettings

    settings = EventStreamSettings.load()
    if to_cluster and to_cluster != settings.kafka.bootstrap_servers:
        return
    for topic in {to, notices_to} & {settings.next_visit_topic, settings.bucket_topic}:
        raise click.UsageError(
            f"{topic} is a topic of the night itself, whose record must stay as it is. What to do: record "
            "the night first (--write FILE), and replay that (--recording FILE)."
        )


def _show(plan: list[Sending]) -> None:
    from collections import Counter
    from datetime import UTC, datetime

    counts = Counter(one.kind for one in plan)
    click.echo(
        f"{counts['announcement']} announcements and {counts['arrival']} arrival notices "
        f"in {plan[-1].after:.1f} s:"
    )
    for one in plan[:_SHOWN]:
        stamp = datetime.fromtimestamp(one.recorded, UTC).strftime("%H:%M:%S")
        click.echo(f"  {one.after:10.2f} s  {stamp}  {one.kind:12s}  {_name(one)}")
    if len(plan) > _SHOWN:
        click.echo(f"  ... and {len(plan) - _SHOWN} more")


def _name(sending: Sending) -> str:
    from prompt_processing.domain.notices import parse_notices
    from prompt_processing.domain.visit import NextVisit

    if sending.kind == "announcement":
        visit = NextVisit.parse(sending.text)
        return f"{visit.instrument} {visit.groupId} {visit.filters}"
    return ", ".join(notice.keys[0] for notice in parse_notices(sending.text))


def _send(plan: list[Sending], speed: float, to: str, notices_to: str, to_cluster: str) -> int:
    from prompt_processing.reprocessing.replay.sending import replay
    from prompt_processing.settings.environment import SettingsError
    from prompt_processing.tester.publish import Announcer, PublishError, publish_message
    from prompt_processing.tester.settings import EventStreamSettings
    from prompt_processing.transport.kafka import make_producer
    from prompt_processing.transport.schema_registry import SchemaRegistryError

    try:
        overrides = {"kafka_cluster": to_cluster} if to_cluster else {}
        settings = EventStreamSettings.load(**overrides)
        producer = make_producer(settings.kafka, linger_ms=0)
        report = replay(
            plan,
            speed,
            Announcer(producer, to, settings.schema_registry).publish,
            (lambda text: publish_message(producer, notices_to, text.encode())) if notices_to else None,
            on_sent=lambda one: click.echo(f"{one.after:10.2f} s  {one.kind:12s}  {_name(one)}", err=True),
        )
    except (PublishError, SchemaRegistryError, SettingsError) as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        click.echo("Interrupted.", err=True)
        return 130
    click.echo(
        f"Sent {report.announcements} announcements and {report.arrivals} arrival notices in "
        f"{report.seconds:.1f} s; the latest was {report.latest:.2f} s behind its time."
    )
    if report.skipped:
        click.echo(f"{report.skipped} arrival notices were not sent: name their topic with --notices-to.")
    return 0
