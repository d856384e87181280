"""The commands of `prompt alerts`."""
