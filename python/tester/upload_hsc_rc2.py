#!/usr/bin/env python
"""Upload visits of HSC drawn from a Butler repository; see ``--help``."""

import sys

from prompt_processing.tester.upload_hsc_rc2 import main

if __name__ == "__main__":
    sys.exit(main())
