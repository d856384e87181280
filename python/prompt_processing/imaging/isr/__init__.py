"""Instrument signature removal: from a raw frame to electrons on the detector's pixels."""
