#!/usr/bin/env bash
# Pushes the image of flows to its registry, where buildah is logged in.
#
#   WM_DATA_PIPELINE_IMAGE=registry.example.org/prompt-flows:latest infra/docker/docker_push.sh
set -euo pipefail

exec buildah push "${WM_DATA_PIPELINE_IMAGE:?"names the image that infra/docker/docker_build.sh has built"}"
