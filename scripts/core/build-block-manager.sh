#!/usr/bin/env bash
# Builds the image of the block-manager; build-image.sh says how, and what can be said.
set -euo pipefail
exec "$(dirname "$(realpath "$0")")/build-image.sh" block-manager Dockerfile.manager "$@"
