"""Run the command: ``python -m prompt_delivery.deployment``."""

import sys

from .cli import main

sys.exit(main())
