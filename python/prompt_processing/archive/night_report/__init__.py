"""The report of a night: data, figures, and the notebook that puts them on a page."""
