"""The night board: a page for many who glance at a night.

Stateless: the page asks for one view, which each process computes at most once a second for all viewers.
"""
