"""Run the quanta of a pipeline in this process, or on the processes of a Dask cluster.

The middleware builds the graph of quanta and executes each of them. This package decides which quanta are
left, where they run, and enters their outputs in the repository once at the end.
"""
