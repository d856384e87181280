"""Simulated pairs that are hard to subtract."""
