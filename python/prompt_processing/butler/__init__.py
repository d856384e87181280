"""Access to Butler repositories, shared by all processes."""
