#!/usr/bin/env python
"""Upload visits of HSC drawn from a Butler repository; see ``--help``."""

from prompt_processing.cli.main import main

if __name__ == "__main__":
    main()
