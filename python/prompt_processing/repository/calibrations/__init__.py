"""Calibrations from a repository's own raw exposures."""
