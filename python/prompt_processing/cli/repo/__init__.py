"""The commands of `prompt repo`."""
