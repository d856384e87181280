"""Scatter that outliers do not change."""

from __future__ import annotations

__all__ = ["MAD_TO_SIGMA"]

MAD_TO_SIGMA = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""
