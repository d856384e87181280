"""Run the demo: ``python -m prompt_processing.demo``."""

import sys

from .cli import main

sys.exit(main())
