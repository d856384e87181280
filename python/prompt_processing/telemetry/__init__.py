"""Logs, metrics, health and the metrics service Sasquatch."""
