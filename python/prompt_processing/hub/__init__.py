"""Notebooks of many people beside a night: JupyterHub on this machine, behind the edge."""

from .data import NightData
from .server import Hub

__all__ = ["Hub", "NightData"]
