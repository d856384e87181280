#!/usr/bin/env bash
# Runs a flow on this machine: no Prefect server, no Dask cluster that runs already.
#
#   flows/run_local.sh                         flows/dask_flow_test.py
#   flows/run_local.sh NAME [OPTION...]        a flow of `prompt flow list`, such as
#   flows/run_local.sh build-calibrations --repo central_repo --instrument small --dry-run
#
# WM_DASK_SCHEDULER names an existing cluster instead of processes of this machine.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)

export WM_LOCAL=true
export WM_DASK_SCHEDULER=${WM_DASK_SCHEDULER:-}
# Records of runs go to a folder; `s3` and WM_S3_DEST_BUCKET, _URL, _KEY and _SECRET send them to a bucket.
export WM_DEST_TYPE=${WM_DEST_TYPE:-file}

if (($#)); then
    exec prompt flow run "$@"
fi
exec python "$here/dask_flow_test.py"
