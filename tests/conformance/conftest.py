"""Fixtures of the tests that need the charts."""

from chart_fixtures import chart_software, chart_tree

__all__ = ["chart_software", "chart_tree"]
