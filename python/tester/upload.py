#!/usr/bin/env python
"""Upload visits drawn from the pool of raws; see ``--help``."""

from prompt_processing.cli.main import main

if __name__ == "__main__":
    main()
