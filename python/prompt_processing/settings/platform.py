"""The setting that selects the driver of a worker."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from prompt_processing.settings.environment import EnvironmentSettings

__all__ = ["Platform", "PlatformSettings"]


def _in_lower_case(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


Platform = Annotated[Literal["knative", "keda"], BeforeValidator(_in_lower_case)]
"""Platform of the workers, in any case of letters."""


class PlatformSettings(EnvironmentSettings):
    """The setting that is read before a worker is chosen."""

    platform: Platform = "knative"
    """Worker that ``prompt worker`` runs if none is named: the HTTP worker (``knative``) or the stream worker
    (``keda``)."""
