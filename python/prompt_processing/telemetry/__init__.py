"""Logs, metrics and what goes to Sasquatch."""
