"""The observatory's day as flows: plain functions that run here, on a Dask cluster, or in Prefect.

A flow names the functions that do the work, and what they need. It contains no numerics.
"""
