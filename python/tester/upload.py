#!/usr/bin/env python
"""Upload visits drawn from the pool of raws; see ``--help``."""

import sys

from prompt_processing.tester.upload import main

if __name__ == "__main__":
    sys.exit(main())
