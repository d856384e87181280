"""Run the raw microservice under gunicorn."""

from __future__ import annotations

from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication

from prompt_processing.instruments.raw_store import RawStore
from prompt_processing.raw_microservice.app import create_app
from prompt_processing.raw_microservice.bucket import RawBucket
from prompt_processing.raw_microservice.config import MicroserviceSettings
from prompt_processing.raw_microservice.follower import NoticeFollower
from prompt_processing.raw_microservice.index import RawIndex
from prompt_processing.raw_microservice.service import PresenceService
from prompt_processing.settings.environment import SettingsError
from prompt_processing.settings.exit_codes import ExitCode
from prompt_processing.settings.service_loop import report_unusable
from prompt_processing.telemetry.health import Health
from prompt_processing.telemetry.logs import LogContext, configure_logging
from prompt_processing.transport.arrival_notices import ArrivalNotices
from prompt_processing.transport.s3 import make_s3_client, split_bucket

__all__ = ["run_microservice"]


def run_microservice() -> int:
    """Run the service with the environment's settings until it is asked to stop.

    Returns
    -------
    status
        3 for unusable settings; otherwise gunicorn ends the process.
    """
    try:
        settings = MicroserviceSettings.load()
    except SettingsError as error:
        return report_unusable(error)
    configure_logging(
        LogContext(),
        {"lsst.raw_microservice": "INFO", "gunicorn": "INFO"},
        secrets=settings.secrets,
    )
    _Server(settings).run()
    return ExitCode.DONE


def _make(settings: MicroserviceSettings) -> tuple[Flask, NoticeFollower]:
    client = make_s3_client(
        settings.s3_endpoint_url,
        validate_bucket_names=not settings.lsst_disable_bucket_validation,
        profile=split_bucket(settings.image_bucket)[0],
        connect_timeout=2.0,
        # Workers wait 5 s for an answer and then query the bucket themselves.
        read_timeout=4.0,
        attempts=1,
    )
    service = PresenceService(
        RawIndex(),
        RawBucket(RawStore(client, settings.image_bucket)),
        settings.supported_instruments,
        settings.bucket_interval,
    )
    notices = ArrivalNotices(settings.kafka, settings.bucket_topic)
    follower = NoticeFollower(notices, service)
    # Without notices the service queries only the bucket: correct, but slower.
    health = Health(live={"follower": follower.alive}, ready={"notices": follower.following})
    return create_app(service, health), follower


class _Server(BaseApplication):
    """One process with many threads, which share one index."""

    def __init__(self, settings: MicroserviceSettings) -> None:
        self._settings = settings
        self._follower: NoticeFollower | None = None
        super().__init__()

    def load_config(self) -> None:
        options: dict[str, Any] = {
            "bind": f"0.0.0.0:{self._settings.port}",
            "workers": 1,
            "worker_class": "gthread",
            "threads": self._settings.threads,
            "accesslog": None,
            "graceful_timeout": 10,
            "worker_exit": self._worker_exit,
            "control_socket_disable": True,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        # In the worker: neither clients nor threads survive a fork.
        app, self._follower = _make(self._settings)
        self._follower.start()
        return app

    def _worker_exit(self, server: Any, worker: Any) -> None:
        if self._follower is not None:
            self._follower.stop()
