"""Run the HTTP worker under gunicorn."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import resources

from gunicorn.app.wsgiapp import WSGIApplication

__all__ = ["run_web_worker"]


class _Gunicorn(WSGIApplication):
    """Gunicorn with our configuration, independent of the command line of this process."""

    def __init__(self, options: Sequence[str]) -> None:
        configuration = resources.files("prompt_processing.activator") / "gunicorn_conf.py"
        self._options = ["-c", str(configuration), *options]
        super().__init__("%(prog)s [OPTIONS]", prog="prompt worker http")

    def load_config(self) -> None:
        """Read the options, at the start and at each reload."""
        # Gunicorn reads sys.argv here, and repeats it to replace itself after SIGUSR2.
        typed = sys.argv
        sys.argv = [typed[0], *self._options]
        try:
            super().load_config()
        finally:
            sys.argv = typed


def run_web_worker(options: Sequence[str] = ()) -> None:
    """Run gunicorn with the environment's settings until it is asked to stop.

    Parameters
    ----------
    options
        Further options of gunicorn; the last one may name another application.
    """
    _Gunicorn(options).run()
