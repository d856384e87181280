"""Flags and notes of people on figures, detectors and objects: the only thing that the pages write."""
