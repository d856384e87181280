"""``prompt worker``: run the service under gunicorn, or as a KEDA job."""

from __future__ import annotations

import gc

import click

from prompt_processing.butler.types import use_butler_types
from prompt_processing.cli.command import Command
from prompt_processing.cli.options import use_one_blas_thread
from prompt_processing.settings.freed_memory import reuse_freed_memory
from prompt_processing.settings.plugins import search_plugins_once

_SETTINGS = "prompt_processing.settings.worker:Settings"


@click.command(
    cls=Command,
    settings=_SETTINGS,
    settings_note="REDIS_STREAM_* and FANNED_OUT_MSG_LISTEN_TIMEOUT apply to prompt worker stream only.",
    examples="""
    RUBIN_INSTRUMENT=LSSTCam SKYMAP=lsst_cells_v1 ... prompt worker http
    WEB_CONCURRENCY=4 PORT=8080 prompt worker http       # with the rest of the settings
    prompt worker http -- --help                         # gunicorn's own options
    """,
    statuses={3: "the settings are unusable"},
    context_settings={"ignore_unknown_options": True},
)
@click.argument(
    "gunicorn",
    nargs=-1,
    type=click.UNPROCESSED,
    metavar="[GUNICORN OPTIONS]...",
    help="Options passed to gunicorn; none is required.",
)
def http(gunicorn: tuple[str, ...]) -> None:
    """Process visits that arrive over HTTP, one at a time in each worker process.

    POST /next-visit takes a CloudEvent with a visit, waits for its images, and responds when the alerts are
    sent. /metrics and /health respond on METRICS_PORT at any time.
    """
    prepare_process()
    # Imports everything else, so only once garbage collection is off.
    from prompt_processing.activator.web_server import run_web_worker

    run_web_worker(gunicorn)


@click.command(
    cls=Command,
    settings=_SETTINGS,
    settings_note="REDIS_STREAM_HOST must be set as well.",
    examples="""
    RUBIN_INSTRUMENT=LSSTCam REDIS_STREAM_HOST=redis:6379 ... prompt worker stream
    """,
    statuses={3: "the settings are unusable"},
)
def stream() -> int:
    """Process visits from a Redis stream, one at a time, until none arrives for a while.

    KEDA starts such workers as jobs, one for each visit.
    """
    prepare_process()
    from prompt_processing.activator.stream_worker import run_stream_worker

    return run_stream_worker()


def worker_of_platform() -> str:
    """Return the worker that ``PLATFORM`` names, for ``prompt worker`` without a further word."""
    from prompt_processing.settings.environment import SettingsError
    from prompt_processing.settings.platform import PlatformSettings
    from prompt_processing.settings.service_loop import report_unusable

    try:
        return "stream" if PlatformSettings.load().platform == "keda" else "http"
    except SettingsError as error:
        raise SystemExit(report_unusable(error)) from error


def prepare_process() -> None:
    """Set this process up for a worker, before the worker's modules are imported."""
    use_one_blas_thread()
    reuse_freed_memory()
    # The middleware reads its configuration when it is imported; later it would have to be read again.
    use_butler_types()
    search_plugins_once()
    # Imported objects are never garbage, and collection takes an eighth of the startup time. A ready worker
    # enables it again, for objects created from then on.
    gc.disable()
