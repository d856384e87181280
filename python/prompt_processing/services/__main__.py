"""``python -m prompt_processing.services``."""

import sys

from .cli import main

sys.exit(main())
