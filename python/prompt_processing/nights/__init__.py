"""Nights, visits, detectors and their outcomes, for the pages that show them.

Workers publish messages (`.publishing`), a projector keeps them in a small database (`.projector`), and
pages read that database with bounded queries (`.reading`). Pages never write.
"""
