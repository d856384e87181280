"""Prompt Processing: alerts within seconds of a survey image's arrival."""
