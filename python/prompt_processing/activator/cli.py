"""``prompt-activator``: run the service under gunicorn."""

from __future__ import annotations

import os
import sys
from importlib import resources

from gunicorn.app.wsgiapp import WSGIApplication


def main() -> None:
    """Run gunicorn with the service's configuration; further arguments are gunicorn's own."""
    # The tasks share the cores out themselves; threads of BLAS on top only spin against them.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    configuration = resources.files("prompt_processing.activator") / "gunicorn_conf.py"
    sys.argv[1:1] = ["-c", str(configuration)]
    WSGIApplication("%(prog)s [OPTIONS]", prog="prompt-activator").run()


if __name__ == "__main__":
    main()
