"""Run ``prompt-difference`` on simulated pairs that are hard to subtract; see ``--help``."""

from regime.cli import main

if __name__ == "__main__":
    main()
