#!/usr/bin/env python
"""Upload raws to the pool that ``upload.py`` draws from; see ``--help``."""

import sys

from prompt_processing.tester.fill_pool import main

if __name__ == "__main__":
    sys.exit(main())
