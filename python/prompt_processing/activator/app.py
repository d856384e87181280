"""The web application of a worker."""

from __future__ import annotations

import sys

from flask import Flask

from prompt_processing.activator.config import BOOT_FAILURE, SettingsError
from prompt_processing.activator.factory import Factory, ProcessContext
from prompt_processing.activator.handlers import health, metrics, next_visit


def create_app(context: ProcessContext | None = None) -> Flask:
    """Make the application.

    Parameters
    ----------
    context : `~prompt_processing.activator.factory.ProcessContext`, optional
        The long-lived clients; by default they are made from the environment
        and warmed, and the process exits with status 3 if the environment
        does not allow it, after telling all that is wrong with it.

    Returns
    -------
    app : `flask.Flask`
        A WSGI application.
    """
    if context is None:
        try:
            context = ProcessContext.from_environment()
        except SettingsError as error:
            sys.stderr.write(f"The settings are not usable:\n{error}\n")
            raise SystemExit(BOOT_FAILURE) from error
        context.warm()
    app = Flask("prompt_processing.activator")
    app.register_blueprint(next_visit.make_blueprint(Factory(context).process_visit()))
    bound = context
    app.register_blueprint(health.make_blueprint(lambda: bound.ready))
    app.register_blueprint(metrics.make_blueprint(context.metrics))
    app.extensions["prompt_processing"] = context
    return app
