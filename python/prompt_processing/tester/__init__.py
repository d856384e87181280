"""Simulate the observatory: announce visits and upload raws."""
