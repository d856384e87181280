"""Find what a night left unfinished, and finish it."""
