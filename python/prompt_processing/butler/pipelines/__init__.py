"""Pipelines: their files, and their graphs, made once for all visits."""
