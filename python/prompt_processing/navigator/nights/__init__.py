"""Nights and their visits."""
