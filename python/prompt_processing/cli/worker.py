"""``prompt worker``: the service under gunicorn, or as a job of KEDA's."""

from __future__ import annotations

import gc
import os

import click

from .command import Command

_SETTINGS = "prompt_processing.settings.worker:Settings"


@click.command(
    cls=Command,
    settings=_SETTINGS,
    settings_note="REDIS_STREAM_*, FANNED_OUT_MSG_LISTEN_TIMEOUT are for prompt worker stream.",
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
    help="Passed to gunicorn; none is needed.",
)
def http(gunicorn: tuple[str, ...]) -> None:
    """Process visits that arrive over HTTP, one at a time in each worker process.

    POST /next-visit takes a CloudEvent with a visit, waits for its images, and answers when the alerts are
    sent. /metrics and /health answer on METRICS_PORT at any time.
    """
    _prepare()
    # Not before garbage collection is off: this imports everything else.
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
    """Process the visits of a Redis stream, one at a time, until none has come for a while.

    KEDA starts such workers as jobs, as many as there are visits.
    """
    _prepare()
    from prompt_processing.activator.stream_worker import run_stream_worker

    return run_stream_worker()


def _prepare() -> None:
    # The tasks share the cores out themselves; threads of BLAS on top only spin against them.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # What is imported is never garbage, and looking for some takes an eighth of the start. A worker that is
    # ready collects again, all but what it has by then.
    gc.disable()
