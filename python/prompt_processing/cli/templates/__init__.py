"""The commands of `prompt templates`."""
