"""Robust estimate of scatter."""

from __future__ import annotations

__all__ = ["MAD_TO_SIGMA"]

MAD_TO_SIGMA = 1.4826
"""Ratio of standard deviation to median absolute deviation of a normal distribution."""
