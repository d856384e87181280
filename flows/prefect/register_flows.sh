#!/usr/bin/env bash
# Registers the flows of a file of schedules at a Prefect server, as deployments.
#
#   flows/prefect/register_flows.sh SCHEDULES.yaml [POOL]
#
# PREFECT_API_URL          the server; default: the one of infra/prefect/start_server.sh
# WM_RUN_CONFIG_TYPE       local (default), docker or kubernetes: what the pool's workers start
# WM_DATA_PIPELINE_IMAGE   image of the containers, unless local
# WM_DASK_SCHEDULER, WM_DEST_TYPE, WM_S3_DEST_BUCKET, ...   passed on to the runs; keys and secrets are not
set -euo pipefail

schedules=${1:?"usage: register_flows.sh SCHEDULES.yaml [POOL]"}
pool=${2:-day}
export PREFECT_API_URL=${PREFECT_API_URL:-http://127.0.0.1:4200/api}
exec prompt flow deploy --schedules "$schedules" --pool "$pool"
