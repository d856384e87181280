"""The setting that selects the driver of a worker."""

from __future__ import annotations

from typing import Literal

from prompt_processing.settings.environment import EnvironmentSettings

__all__ = ["PlatformSettings"]


class PlatformSettings(EnvironmentSettings):
    """The setting that is read before a worker is chosen."""

    platform: Literal["knative", "keda"] = "knative"
    """Worker that ``prompt worker`` runs if none is named: the HTTP worker (``knative``) or the stream worker
    (``keda``)."""
