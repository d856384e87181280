"""Train the reliability model, and test it on images that it has not seen; see ``--help``."""

from reliability.cli import main

if __name__ == "__main__":
    main()
