"""``prompt export-night``: archive a night as Parquet, HATS and Avro files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prompt_processing.cli.command import Command, option
from prompt_processing.cli.options import INSTRUMENT, NIGHT, log_to_stderr

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lsst.dax.apdb import Apdb

    from prompt_processing.alerts.reading import FoundAlert
    from prompt_processing.archive.export import ExportReport

_SHOWN = 20


@click.command(
    cls=Command,
    examples="""
    prompt export-night 2026-11-28 --to /archive --apdb apdb.yaml
    prompt export-night 2026-11-28 --to /archive --apdb apdb.yaml --alerts /alerts     # and alert files
    prompt export-night 2026-11-28 --to /archive --apdb apdb.yaml --dry-run
    prompt export-night 2026-11-28 --to /archive --check                               # files only
    """,
    settings_note="With --alerts-topic, AP_KAFKA_SERVER and the other settings of the alert stream apply.",
    statuses={1: "the archive is incomplete or damaged, or the export failed"},
)
@click.argument("night", type=NIGHT, help="Observing day.")
@option("--to", "root", required=True, type=click.Path(file_okay=False, path_type=Path), help="Archive.")
@option("--apdb", envvar="CONFIG_APDB", show_envvar=True, metavar="URI", help="Configuration of the APDB.")
@option(
    "--instrument",
    type=INSTRUMENT,
    default=None,
    help="Camera, which decides when a day begins.  [default: 12:00 TAI, as at Rubin]",
)
@option(
    "--alerts",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    metavar="PATH",
    help="Alerts: a file, a tar of kept alerts, or a folder of these; repeatable.",
    section="Alerts",
)
@option(
    "--alerts-topic", default="", metavar="TOPIC", help="Alerts that a Kafka topic holds.", section="Alerts"
)
@option("--no-hats", is_flag=True, help="Leave the HATS catalogues as they are.", section="Catalogues")
@option("--dask", default="", metavar="ADDRESS", help="Dask scheduler that makes them.", section="Catalogues")
@option("--check", is_flag=True, help="Compare the archive with its checksums and the APDB; write nothing.")
@option("--dry-run", is_flag=True, help="Count what would be added; write nothing.")
@option("--json", "as_json", is_flag=True, help="Write the result as JSON, for programs.")
def main(
    night: str,
    root: Path,
    apdb: str | None,
    instrument: str | None,
    alerts: tuple[Path, ...],
    alerts_topic: str,
    no_hats: bool,
    dask: str,
    check: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Add to an archive what is new in a night of the APDB, and verify it.

    The archive has tables as Parquet by night, HATS catalogues of all nights (DiaObjects with their light
    curves, and DiaSources), and alerts as Avro files with an index. Repeat the command after more visits were
    processed: it adds the rest. Damaged files are copied again.
    """
    import sqlalchemy.exc

    from prompt_processing.archive.export import check_night, export_night, preview_export
    from prompt_processing.archive.nights import NightInterval
    from prompt_processing.domain.errors import PromptError, RepositoryProblemError

    log_to_stderr()
    if apdb is None and not check:
        raise click.UsageError("Name the APDB: --apdb URI, or CONFIG_APDB in the environment.")
    interval = NightInterval.of(night, instrument or "")
    try:
        opened = _open(apdb) if apdb else None
        if check:
            problems = check_night(root, interval, opened)
            for problem in problems[:_SHOWN]:
                click.echo(str(problem))
            click.echo(f"{len(problems)} problems in the archive of {night}.")
            return 1 if problems else 0
        assert opened is not None
        if dry_run:
            found = preview_export(root, interval, opened)
            click.echo(
                f"{night}: {found.visits} visit-detectors are new ({found.sources} DiaSources, "
                f"{found.forced_sources} DiaForcedSources), {found.archived} are archived."
            )
            return 0
        report = export_night(
            root,
            interval,
            opened,
            _alerts(alerts, alerts_topic),
            hats=not no_hats,
            dask=dask,
            on_step=lambda step: click.echo(f"{step} ...", err=True),
        )
    except (RepositoryProblemError, PromptError, OSError) as error:
        raise click.ClickException(str(error)) from error
    except sqlalchemy.exc.SQLAlchemyError as error:
        reason = str(error).partition("\n")[0]
        raise click.ClickException(f"The APDB of {apdb} cannot be read: {reason}") from error
    click.echo(json.dumps(_as_json(report), indent=1) if as_json else _as_text(night, report))
    return 1 if report.problems else 0


def _open(uri: str) -> Apdb:
    from prompt_processing.apdb.preloaded_catalogs import open_apdb

    return open_apdb(uri)


def _alerts(paths: tuple[Path, ...], topic: str) -> Iterator[FoundAlert] | None:
    """Return the alerts to archive; `None` if none were asked for."""
    from itertools import chain

    from prompt_processing.archive.alert_topic import read_alert_topic
    from prompt_processing.archive.alerts import read_alert_files
    from prompt_processing.settings.alerts import AlertSettings
    from prompt_processing.settings.environment import SettingsError

    if not topic:
        return read_alert_files(paths) if paths else None
    try:
        broker = AlertSettings.load().alert_stream.broker
    except SettingsError as error:
        raise click.UsageError(str(error)) from error
    if broker is None:
        raise click.UsageError("--alerts-topic needs AP_KAFKA_SERVER and AP_KAFKA_TOPIC.")
    return chain(read_alert_files(paths), read_alert_topic(broker, topic))


def _as_json(report: ExportReport) -> dict[str, object]:
    alerts = report.alerts
    return {
        "day_obs": report.day_obs,
        "new": report.new,
        "rows": report.rows,
        "alerts": None
        if alerts is None
        else {
            "new": alerts.new,
            "known": alerts.known,
            "other_nights": alerts.other_nights,
            "unreadable": alerts.unreadable,
        },
        "catalogues": report.catalogues,
        "repaired": [str(one) for one in report.repaired],
        "problems": [str(one) for one in report.problems],
    }


def _as_text(night: str, report: ExportReport) -> str:
    names = ("DiaSource", "DiaForcedSource", "DiaObject", "SSSource", "SSObject")
    lines = [f"Night {night}:"]
    lines += [
        f"  {name:16s} {report.new.get(name, 0):9d} new {report.rows.get(name, 0):9d} archived"
        for name in names
        if name in report.rows
    ]
    if (alerts := report.alerts) is not None:
        lines.append(f"  {'alerts':16s} {alerts.new:9d} new {report.rows.get('alerts', 0):9d} archived")
        if alerts.other_nights:
            lines.append(f"  {alerts.other_nights} alerts belong to other nights.")
        lines += [f"  unreadable: {reason}" for reason in alerts.unreadable[:_SHOWN]]
    lines += [f"  {name}: {rows} rows in the HATS catalogue" for name, rows in report.catalogues.items()]
    lines += [f"  repaired: {problem}" for problem in report.repaired]
    lines += [f"  problem: {problem}" for problem in report.problems[:_SHOWN]]
    lines.append(
        f"{len(report.problems)} problems." if report.problems else "All checksums and counts are right."
    )
    return "\n".join(lines)
