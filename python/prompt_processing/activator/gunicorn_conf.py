"""Gunicorn's configuration: ``gunicorn -c <this file>``.

Gunicorn executes this file when it starts and when it reloads; nothing else
imports it. One synchronous worker does one visit at a time. A process beside
them answers ``/metrics`` and ``/health`` while all workers are busy.
"""

from __future__ import annotations

import gc
import importlib
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any

from gunicorn.glogging import Logger

from prompt_processing.activator.side_server import SideServer
from prompt_processing.settings.environment import SettingsError

# None of these may import prometheus_client, which looks at its environment, set below, when it is imported.
from prompt_processing.settings.service_loop import report_unusable
from prompt_processing.settings.worker import Settings
from prompt_processing.telemetry.logs import LogContext, configure_logging

_MARGIN = 60.0
"""Seconds that a worker is given on top of a visit's: to start, or to end one that does not react."""


def _load_settings() -> Settings:
    try:
        settings = Settings.load()
    except SettingsError as error:
        raise SystemExit(report_unusable(error)) from error
    configure_logging(
        LogContext(settings.rubin_instrument), settings.service_log_levels, secrets=settings.secrets
    )
    return settings


class JsonLogger(Logger):
    """Leave gunicorn's own log to the service's."""

    def setup(self, cfg: Any) -> None:
        """Send everything to the root logger.

        Parameters
        ----------
        cfg : `gunicorn.config.Config`
            Gunicorn's configuration.
        """
        self.cfg = cfg
        # Without handlers of its own; what gunicorn reads before it writes an access line is switched off.
        self._access_log_enabled = False
        for log in (self.error_log, self.access_log):
            log.handlers.clear()
            log.propagate = True

    def access(self, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
        """Write nothing: the outcome of a visit tells more than its access line."""


_settings = _load_settings()
_side_server = SideServer(_settings.metrics_port)
_OWN_FOLDER_PREFIX = "prompt-metrics-"

wsgi_app = "prompt_processing.activator.app:create_app()"
bind = f"0.0.0.0:{_settings.port}"
workers = _settings.web_concurrency
worker_class = "prompt_processing.activator.request_worker.RequestWorker"
# A visit ends by itself at WORKER_TIMEOUT, with an answer. This is for one that does not.
timeout = int(_settings.worker_timeout + _MARGIN)
graceful_timeout = max(1, int(_settings.worker_grace_period))
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None
logger_class = JsonLogger
# Nothing talks to it, and it would be a file in the user's home.
control_socket_disable = True

# The client library looks at this when it is first imported, in the workers as well as here.
if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix=_OWN_FOLDER_PREFIX)


def on_starting(server: Any) -> None:
    """Forget the metrics of an earlier life, begin to answer questions, and import what workers need."""
    folder = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    folder.mkdir(parents=True, exist_ok=True)
    for left_over in folder.glob("*.db"):
        left_over.unlink()
    try:
        _side_server.start()
    except OSError as error:
        where = f"METRICS_PORT: {_settings.metrics_port} cannot be used: "
        raise SystemExit(report_unusable(error, where)) from error
    # Imported here once, workers share it in memory and are ready sooner. Clients are made after the fork.
    importlib.import_module("prompt_processing.activator.app")
    gc.freeze()


def when_ready(server: Any) -> None:
    """Collect garbage from now on; nothing large is imported here any more."""
    gc.enable()


def post_fork(server: Any, worker: Any) -> None:
    """Import the rest without collecting garbage; the worker begins with that when it is ready."""
    gc.disable()


def post_worker_init(worker: Any) -> None:
    """Let an idle worker end in peace upon SIGHUP as well."""
    signal.signal(signal.SIGHUP, worker.handle_exit)


def post_request(worker: Any, req: Any, environ: Any, resp: Any) -> None:
    """Replace a worker after its share of visits."""
    if _settings.worker_restart_freq and req.path == "/next-visit":
        # Gunicorn's own limit would count questions about its health as well.
        worker.visits = getattr(worker, "visits", 0) + 1
        if worker.visits >= _settings.worker_restart_freq:
            worker.alive = False


def worker_exit(server: Any, worker: Any) -> None:
    """Remove the worker's local repository."""
    extensions = getattr(getattr(worker, "wsgi", None), "extensions", {})
    if (context := extensions.get("prompt_processing")) is not None:
        context.close()


def child_exit(server: Any, worker: Any) -> None:
    """Count a worker that has ended no more."""
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def on_exit(server: Any) -> None:
    """Leave nothing behind."""
    _side_server.stop()
    folder = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    if folder.name.startswith(_OWN_FOLDER_PREFIX):
        shutil.rmtree(folder, ignore_errors=True)
