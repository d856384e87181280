"""Run the command: ``python -m prompt_processing.deployment``."""

import sys

from .cli import main

sys.exit(main())
