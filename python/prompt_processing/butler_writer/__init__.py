"""Enter the outputs of workers into the central Butler repository, many visits at a time."""
