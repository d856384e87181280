"""Gunicorn's configuration: ``gunicorn -c <this file>``.

Gunicorn executes this file when it starts and when it reloads; nothing else
imports it. Each synchronous worker processes one visit at a time. A separate
process answers ``/metrics`` and ``/health`` while all workers are busy.
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

# None of these may import prometheus_client, which reads its environment (set below) when it is imported.
from prompt_processing.settings.service_loop import report_unusable
from prompt_processing.settings.worker import Settings
from prompt_processing.telemetry.logs import LogContext, configure_logging

_MARGIN = 60.0
"""Seconds that a worker has on top of a visit's time, to start or to end a visit that does not react."""


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
    """Send gunicorn's own log to the log of the service."""

    def setup(self, cfg: Any) -> None:
        """Send everything to the root logger.

        Parameters
        ----------
        cfg : `gunicorn.config.Config`
            Gunicorn's configuration.
        """
        self.cfg = cfg
        # The root logger has the handlers. Gunicorn reads the second line before it writes an access line.
        self._access_log_enabled = False
        for log in (self.error_log, self.access_log):
            log.handlers.clear()
            log.propagate = True

    def access(self, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
        """Write nothing: the outcome of a visit says more than its access line."""


_settings = _load_settings()
_side_server = SideServer(_settings.metrics_port)
_OWN_FOLDER_PREFIX = "prompt-metrics-"

wsgi_app = "prompt_processing.activator.app:create_app()"
bind = f"0.0.0.0:{_settings.port}"
workers = _settings.processes
worker_class = "prompt_processing.activator.request_worker.RequestWorker"
# WORKER_TIMEOUT ends a visit with an answer. This limit is for a visit that does not react to it.
timeout = int(_settings.worker_timeout + _MARGIN)
graceful_timeout = max(1, int(_settings.worker_grace_period))
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None
logger_class = JsonLogger
# Nothing uses the socket, and gunicorn would put it into the user's home.
control_socket_disable = True

# The client library reads this when it is first imported, in the workers as well as here.
if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix=_OWN_FOLDER_PREFIX)


def on_starting(server: Any) -> None:
    """Remove the metrics of an earlier run, start the side server, and import the worker's modules."""
    folder = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    folder.mkdir(parents=True, exist_ok=True)
    for left_over in folder.glob("*.db"):
        left_over.unlink()
    try:
        _side_server.start()
    except OSError as error:
        where = f"METRICS_PORT: {_settings.metrics_port} cannot be used: "
        raise SystemExit(report_unusable(error, where)) from error
    # Imported before the fork, so that workers share the memory and start sooner. Clients are made after it.
    importlib.import_module("prompt_processing.activator.app")
    gc.freeze()


def when_ready(server: Any) -> None:
    """Enable garbage collection, after the last large import in this process."""
    gc.enable()


def post_fork(server: Any, worker: Any) -> None:
    """Disable garbage collection for the remaining imports; the worker enables it when it is ready."""
    gc.disable()


def post_worker_init(worker: Any) -> None:
    """Let SIGHUP end an idle worker gracefully as well."""
    signal.signal(signal.SIGHUP, worker.handle_exit)


def post_request(worker: Any, req: Any, environ: Any, resp: Any) -> None:
    """Replace a worker after its share of visits."""
    if _settings.worker_restart_freq and req.path == "/next-visit":
        # Gunicorn's own limit would count health checks as well.
        worker.visits = getattr(worker, "visits", 0) + 1
        if worker.visits >= _settings.worker_restart_freq:
            worker.alive = False


def worker_exit(server: Any, worker: Any) -> None:
    """Remove the worker's local repository."""
    extensions = getattr(getattr(worker, "wsgi", None), "extensions", {})
    if (context := extensions.get("prompt_processing")) is not None:
        context.close()


def child_exit(server: Any, worker: Any) -> None:
    """Remove a worker that has ended from the metrics."""
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def on_exit(server: Any) -> None:
    """Stop the side server and remove the metrics folder."""
    _side_server.stop()
    folder = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    if folder.name.startswith(_OWN_FOLDER_PREFIX):
        shutil.rmtree(folder, ignore_errors=True)
