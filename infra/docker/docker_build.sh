#!/usr/bin/env bash
# Builds the image of flows, WM_DATA_PIPELINE_IMAGE: the service container with Dask and Prefect.
#
#   infra/docker/docker_build.sh
#
# WM_DATA_PIPELINE_IMAGE   default: localhost/prompt-flows:latest
# SERVICE_IMAGE            service container to build on; default: localhost/prompt-service:latest (bin/build-service)
# shellcheck source=bin/_containers
source "$(dirname "${BASH_SOURCE[0]}")/../../bin/_containers"

image=${WM_DATA_PIPELINE_IMAGE:-localhost/prompt-flows:latest}
# The service has its own requirements; this container adds those of the extra.
"$release" requirements --beyond --extra flows >"$scratch/flows.lock"
write_secrets
read_labels service
build infra/docker/Dockerfile "$image" "${secret_options[@]}" \
    --build-arg "SERVICE_IMAGE=${SERVICE_IMAGE:-localhost/prompt-service:latest}" \
    --build-arg "REQUIREMENTS=build/containers/flows.lock"
