"""Translate HTTP requests to service calls, and outcomes to HTTP answers."""
