"""The steps of one visit, from announcement to outcome."""
