"""Enter what workers have written into the central Butler repository, many visits at a time."""
