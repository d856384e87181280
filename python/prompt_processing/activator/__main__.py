"""``python -m prompt_processing.activator``."""

from prompt_processing.activator.cli import main

main()
