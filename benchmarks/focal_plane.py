"""A full camera's load on real services, beside its targets; see ``--help``."""

import sys

from load.cli import main

if __name__ == "__main__":
    sys.exit(main())
