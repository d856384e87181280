"""Run the fan-out: ``python -m prompt_processing.fanout``."""

import sys

from .cli import main

sys.exit(main())
