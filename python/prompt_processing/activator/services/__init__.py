"""The story of one visit."""
