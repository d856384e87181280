"""Measure a full camera's load on real services against its targets; see ``--help``."""

import sys

from load.cli import main

if __name__ == "__main__":
    sys.exit(main())
