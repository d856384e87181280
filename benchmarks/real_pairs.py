"""Subtract pairs of real images, and compare with what is known of them; see ``--help``."""

from real.cli import main

if __name__ == "__main__":
    main()
