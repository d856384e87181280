#!/usr/bin/env bash
# Starts a worker on this machine, which runs the deployed flows of a pool as processes. (Prefect 1 had agents.)
#
#   infra/prefect/start_agent_local.sh [POOL]
#
# The flows' own settings (WM_DASK_SCHEDULER, WM_DEST_TYPE, WM_S3_DEST_KEY, FLOW_WORK, the worker's settings for
# catch-up) are those of this process, unless the deployment has others.
set -euo pipefail

export PREFECT_API_URL=${PREFECT_API_URL:-http://127.0.0.1:4200/api}
exec prefect worker start --pool "${1:-day}" --type process
