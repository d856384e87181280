#!/usr/bin/env bash
# Puts the present code to work on a site: builds and pushes the image, restarts the Dask cluster with it, and
# registers the flows, whose next runs use the image. A cluster whose versions differ from those of this client is
# refused.
#
#   flows/scripts/build_and_update.sh SCHEDULES.yaml [POOL]
#
# WM_DATA_PIPELINE_IMAGE   image to build, such as registry.example.org/prompt-flows:2026-11-28
# WM_DASK_SCHEDULER        cluster to check before flows are registered, such as tcp://dask:8786
# DASK_SWARM_HOSTS         blank-separated hosts, reached by SSH, each with infra/dask/compose.yaml in ~/prompt-dask;
#                          default: this machine
# PREFECT_API_URL, WM_RUN_CONFIG_TYPE   as for register_flows.sh
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
schedules=${1:?"usage: build_and_update.sh SCHEDULES.yaml [POOL]"}
pool=${2:-day}
export WM_DATA_PIPELINE_IMAGE=${WM_DATA_PIPELINE_IMAGE:?"names the image to build"}
export WM_DASK_SCHEDULER=${WM_DASK_SCHEDULER:?"names the cluster"}
export WM_RUN_CONFIG_TYPE=${WM_RUN_CONFIG_TYPE:-docker}

"$root/infra/docker/docker_build.sh"
"$root/infra/docker/docker_push.sh"

restart='docker compose pull --quiet && docker compose up --detach --wait --force-recreate'
if [[ -z ${DASK_SWARM_HOSTS:-} ]]; then
    (cd "$root/infra/dask" && bash -c "$restart")
else
    for host in $DASK_SWARM_HOSTS; do
        # The image's name is ours, not that of the other machine.
        # shellcheck disable=SC2029
        ssh "$host" "cd prompt-dask && export WM_DATA_PIPELINE_IMAGE='$WM_DATA_PIPELINE_IMAGE' && $restart"
    done
fi
# Before flows are registered that the cluster could not run.
python "$root/infra/dask/dask_test.py"
"$root/flows/prefect/register_flows.sh" "$schedules" "$pool"
