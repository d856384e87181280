"""Defects of frames that no mask or header declares: bad lines, periodic patterns, hidden noise."""
