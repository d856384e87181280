"""One module for each outside system that the activator talks to."""
