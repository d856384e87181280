"""Compare our chain with the classic one, on the same pixels, in the same run; see ``--help``."""

from chain.cli import main

if __name__ == "__main__":
    main()
