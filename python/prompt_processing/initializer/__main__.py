"""Run the initializer: ``python -m prompt_processing.initializer``."""

import sys

from .cli import main

sys.exit(main())
