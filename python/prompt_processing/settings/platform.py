"""Which driver a worker has."""

from __future__ import annotations

from typing import Literal

from prompt_processing.settings.environment import EnvironmentSettings

__all__ = ["PlatformSettings"]


class PlatformSettings(EnvironmentSettings):
    """The one setting that counts before a worker is chosen."""

    platform: Literal["knative", "keda"] = "knative"
    """What ``prompt worker`` runs if no worker is named: the HTTP worker (``knative``) or the stream worker
    (``keda``)."""
