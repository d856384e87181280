"""Simulated pairs without a camera: stars of Moffat profiles."""
