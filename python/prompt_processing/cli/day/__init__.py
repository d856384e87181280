"""What is done by day with a night's data."""
