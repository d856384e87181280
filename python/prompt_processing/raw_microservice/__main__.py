"""``python -m prompt_processing.raw_microservice``."""

import sys

from .cli import main

sys.exit(main())
