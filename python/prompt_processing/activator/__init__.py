"""The worker that turns one visit-detector into alerts."""
