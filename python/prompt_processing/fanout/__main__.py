"""Run the fan-out: ``python -m prompt_processing.fanout``."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
