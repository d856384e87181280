"""The edge before the pages of a night: certificates, one login, and the way to each page."""

from .edge import Edge, Pages

__all__ = ["Edge", "Pages"]
