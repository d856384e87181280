"""Figures of any collection of any known repository."""
