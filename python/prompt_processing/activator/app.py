"""The web application of a worker."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flask import Flask

from prompt_processing.activator.factory import Factory, ProcessContext
from prompt_processing.activator.handlers import next_visit
from prompt_processing.activator.services.process_visit import ProcessVisit
from prompt_processing.apdb.failures import ApdbConfigurationError
from prompt_processing.butler.pipelines.files import PipelineError
from prompt_processing.butler.universe import UniverseError
from prompt_processing.settings.environment import SettingsError
from prompt_processing.settings.service_loop import report_unusable
from prompt_processing.telemetry import page_routes
from prompt_processing.telemetry.credentials import CredentialMask
from prompt_processing.telemetry.health import Health
from prompt_processing.telemetry.metrics import Metrics
from prompt_processing.telemetry.pages import Pages
from prompt_processing.telemetry.running_version import RunningVersion

LARGEST_REQUEST = 256 * 1024
"""Bytes; a visit has about one thousand."""


def create_app(context: ProcessContext | None = None) -> Flask:
    """Make the web application.

    Parameters
    ----------
    context : `~prompt_processing.activator.factory.ProcessContext`, optional
        The long-lived clients. By default they are made from the environment
        and warmed. If the settings are unusable, or the repository, the APDB
        or a pipeline does not match this software, the process reports all
        errors and exits with status 3.

    Returns
    -------
    app : `flask.Flask`
        A WSGI application.
    """
    if context is None:
        try:
            context = ProcessContext.from_environment()
        except SettingsError as error:
            raise SystemExit(report_unusable(error)) from error
        try:
            context.warm()
        except SettingsError as error:
            raise SystemExit(report_unusable(error)) from error
        except (ApdbConfigurationError, PipelineError, UniverseError) as error:
            raise SystemExit(report_unusable(error, "")) from error
    bound = context
    app = make_app(
        Factory(context).process_visit(),
        context.metrics,
        ready=lambda: bound.ready,
        secrets=context.settings.secrets,
        version=context.version,
    )
    app.extensions["prompt_processing"] = context
    return app


def make_app(
    process_visit: ProcessVisit,
    counts: Metrics,
    *,
    ready: Callable[[], bool],
    secrets: Sequence[str] = (),
    version: Callable[[], RunningVersion] = RunningVersion.of_this_process,
) -> Flask:
    """Make the web application around a service.

    Parameters
    ----------
    process_visit : `~prompt_processing.activator.services.process_visit.ProcessVisit`
        The service.
    counts : `~prompt_processing.telemetry.metrics.Metrics`
        Metrics that ``/metrics`` shows.
    ready : callable
        Returns whether a visit would be taken at once.
    secrets : sequence of `str`, optional
        Credentials, masked in every answer.
    version : callable, optional
        Returns the running version.

    Returns
    -------
    app : `flask.Flask`
        A WSGI application.
    """
    app = Flask("prompt_processing.activator")
    # Larger requests get 413, at once if they announce their length, else when the limit is reached.
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_REQUEST
    app.register_blueprint(next_visit.make_blueprint(process_visit, CredentialMask(secrets)))
    pages = Pages(Health(ready={"repositories": ready}), counts.render, version)
    app.register_blueprint(page_routes.make_blueprint(pages))
    return app
