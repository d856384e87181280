"""``python -m prompt_delivery.release``."""

import sys

from .cli import main

sys.exit(main())
