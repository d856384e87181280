#!/usr/bin/env bash
# Copies local code into the running pod of the navigator, which then starts again with it.
#
#   ./sync_container.sh NAMESPACE SOURCE TARGET
#   ./sync_container.sh prompt-navigator python /tmp/live
#
# TARGET must be writable in the pod: below /tmp, since the root file system is read-only. The chart's value
# `liveReload: true` puts /tmp/live before the image's code, and makes the navigator watch it. A new pod has the image's
# code again.
#
# KUBECTL names another program than kubectl; SELECTOR other pods than those of the navigator.
set -euo pipefail

usage() {
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"
}

case ${1:-} in
    -h | --help) usage; exit ;;
esac
if (($# != 3)); then
    usage >&2
    exit 2
fi
namespace=$1 source=$2 target=$3
kubectl=${KUBECTL:-kubectl}
selector=${SELECTOR:-app.kubernetes.io/name=prompt-navigator,app.kubernetes.io/component=navigator}

if [[ ! -d $source ]]; then
    printf '%s: %s is not a folder.\n' "$0" "$source" >&2
    exit 1
fi
pods=$("$kubectl" get pods --namespace "$namespace" --selector "$selector" \
    --field-selector status.phase=Running --output name)
if [[ -z $pods ]]; then
    printf '%s: no running pod in %s has the labels %s.\n' "$0" "$namespace" "$selector" >&2
    exit 1
fi
while IFS= read -r pod; do
    # The image has neither rsync nor a compiler, but Python.
    tar --create --exclude='__pycache__' --exclude='*.egg-info' --directory "$source" . |
        "$kubectl" exec --stdin --namespace "$namespace" "$pod" -- \
            python -c 'import sys, tarfile
with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as files:
    files.extractall(sys.argv[1], filter="data")' "$target"
    printf '%s has %s in %s.\n' "$pod" "$source" "$target" >&2
done <<<"$pods"
