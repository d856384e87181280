#!/usr/bin/env python
"""Upload raws to the pool that ``upload.py`` draws from; see ``--help``."""

from prompt_processing.cli.main import main

if __name__ == "__main__":
    main()
