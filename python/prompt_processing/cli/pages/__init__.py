"""Commands that serve pages of the night."""
