"""The rules of KEDA's ScaledJob, as `pkg/scaling/executor/scale_jobs.go` of KEDA 2.18 has them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Strategy = Literal["default", "accurate", "eager"]


@dataclass(frozen=True)
class KedaSettings:
    """What a ScaledJob says, and its workers."""

    polling_interval_s: float = 2.0
    strategy: Strategy = "default"
    min_replicas: int = 0
    max_replicas: int = 100
    stream_length: int = 1
    """Visits on the stream for which there is one worker."""
    listen_timeout_s: float = 300.0
    """Seconds without a visit after which a worker ends (`FANNED_OUT_MSG_LISTEN_TIMEOUT`)."""
    claim_idle_s: float = 60.0
    """Seconds after which a dead worker's visit is another's (`REDIS_STREAM_CLAIM_IDLE`)."""


def jobs_to_create(settings: KedaSettings, on_stream: int, running: int, pending: int) -> int:
    """Return how many workers are made now.

    Parameters
    ----------
    settings : `KedaSettings`
        Of the ScaledJob.
    on_stream : `int`
        Visits on the stream, those being processed included.
    running : `int`
        Jobs that have not ended, pending ones included.
    pending : `int`
        Those of them whose pods do not run yet.
    """
    scale_to = on_stream
    if running < settings.min_replicas:
        wanted = scale_to = settings.min_replicas - running
    else:
        most = min(math.ceil(on_stream / settings.stream_length), settings.max_replicas)
        beyond = running - settings.min_replicas
        if settings.strategy == "default":
            wanted = most - beyond
        elif settings.strategy == "accurate":
            wanted = most - pending
            if most + beyond > settings.max_replicas:
                wanted = settings.max_replicas - beyond
        else:
            wanted = min(settings.max_replicas - beyond - pending, most)
            scale_to = settings.max_replicas
    if on_stream == 0 and settings.min_replicas == 0:
        return 0
    return max(0, min(scale_to, wanted))
