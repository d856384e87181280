"""One module for each outside system that the worker uses."""
