"""``python -m prompt_processing.release``."""

import sys

from .cli import main

sys.exit(main())
