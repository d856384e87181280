"""Run the reference fan-out unmodified, but for two ports that it fixes: metrics (none) and Redis.

Usage: fan_out.py SRC [REDIS_PORT]
"""

from __future__ import annotations

import functools
import runpy
import sys
from pathlib import Path

import prometheus_client
import redis.asyncio

prometheus_client.start_http_server = lambda *_, **__: None
if len(sys.argv) > 2:
    redis.asyncio.Redis = functools.partial(redis.asyncio.Redis, port=int(sys.argv[2]))  # type: ignore[misc]
source = Path(sys.argv[1]).resolve()
sys.path.insert(0, str(source))
runpy.run_path(str(source / "main.py"), run_name="__main__")
