"""What every process knows of a Butler repository."""
