"""Models of the point-spread function: from stars, in a form, with wings."""
