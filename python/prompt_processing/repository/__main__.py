"""Make a central repository: ``python -m prompt_processing.repository``."""

import sys

from .cli import main

sys.exit(main())
