"""Translate HTTP to the service layer and its outcomes back; know nothing else."""
