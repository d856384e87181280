"""``prompt-activator`` and ``prompt-stream-worker``: the service under gunicorn, or as a job of KEDA's."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from importlib import resources

from gunicorn.app.wsgiapp import WSGIApplication


def main() -> None:
    """Run gunicorn with the service's configuration; further arguments are gunicorn's own."""
    http(sys.argv[1:])


def http(arguments: Sequence[str]) -> None:
    """Run gunicorn with the service's configuration; further arguments are gunicorn's own."""
    _prepare()
    configuration = resources.files("prompt_processing.activator") / "gunicorn_conf.py"
    sys.argv[1:] = ["-c", str(configuration), *arguments]
    WSGIApplication("%(prog)s [OPTIONS]", prog="prompt worker http").run()


def stream(arguments: Sequence[str]) -> int:
    """Run a stream worker; returns its exit status."""
    sys.argv[1:] = arguments
    return stream_worker()


def stream_worker() -> int:
    """Run a stream worker; returns its exit status."""
    _prepare()
    # Not before garbage collection is off: this imports everything else.
    from prompt_processing.activator.stream_worker import main as run

    return run()


def _prepare() -> None:
    # The tasks share the cores out themselves; threads of BLAS on top only spin against them.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # What is imported is never garbage, and looking for some takes an eighth of the start. A worker that is
    # ready collects again, all but what it has by then.
    gc.disable()


if __name__ == "__main__":
    main()
