"""The commands of `prompt refcat`."""
