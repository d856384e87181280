"""Tasks that draw a processed visit, and write what they draw as the storage class ``Plot``.

They are the subset ``afterburner`` of the pipelines and run by day, with ``prompt run``: workers leave them
out. Each task measures with the pure functions of `.residuals`, `.stars` and `.focal_plane`, and draws with
those of `.difference_figures`, `.star_figures` and `.focal_plane_figure`, which need matplotlib.
"""
