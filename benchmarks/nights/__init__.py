"""Nights for pages to show, and their viewers."""
