"""Settings of the housekeeping of streams."""

from __future__ import annotations

from pydantic import Field

from prompt_processing.settings.environment import EnvironmentSettings

__all__ = ["StreamSettings"]


class StreamSettings(EnvironmentSettings):
    """Settings of the housekeeping; every variable has the upper-case name of its field."""

    redis_host: str
    """``host`` or ``host:port`` of the Redis server."""
    stream_pattern: str = "instrument:*"
    """Which streams, as a pattern of Redis."""
    stream_interval: float = Field(default=5.0, gt=0, allow_inf_nan=False)
    """Seconds between two queries of the streams."""
    metrics_port: int = Field(default=0, ge=0, le=65535)
    """Port of the Prometheus metrics; 0 serves none."""
