"""Run the demo: ``python -m prompt_processing.demo``."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
