"""``python -m prompt_processing``: the same as ``prompt``."""

from prompt_processing.cli.main import main

main()
