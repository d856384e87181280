"""``python -m prompt_processing.butler_writer``."""

import sys

from .cli import main

sys.exit(main())
