"""Instruments as folders: their description, where they are found, and the translation of their headers."""
