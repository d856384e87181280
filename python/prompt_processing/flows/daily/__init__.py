"""The flows themselves: what is done with a night by day."""
