"""Process a night again, and compare it with the first processing."""
