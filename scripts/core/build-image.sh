#!/usr/bin/env bash
# Builds the image of a service, from any folder; build-data-chain.sh and build-block-manager.sh say of which:
#
#   scripts/core/build-data-chain.sh [--push]
#   scripts/core/build-block-manager.sh [--push]
#
# With --push it goes to the registry that the name of the image has. The variables IMAGE (pickme/lucid-data-chain or
# pickme/lucid-block-manager), PLATFORM (linux/arm64), TAG (latest-arm64, or latest-amd64 for that platform) and BUILDER
# (docker; podman and buildah take the same options) say otherwise.
#
#   scripts/core/build-image.sh SERVICE DOCKERFILE [--push]
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/../.."
service=$1 dockerfile=$2

platform=${PLATFORM:-linux/arm64}
image=${IMAGE:-pickme/lucid-$service}:${TAG:-latest-${platform#linux/}}
builder=${BUILDER:-docker}
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
# Of sources without .git, the commit is what `git archive` wrote.
commit=$(git rev-parse HEAD 2>/dev/null || cat blockchain/http/build/COMMIT)
push=
case ${3:-} in
  '') ;;
  --push) push=yes ;;
  *) sed -n '2,/^set /{s/^# \{0,1\}//p}' scripts/core/build-image.sh >&2; exit 64 ;;
esac

echo "Building $image for $platform: version $version, commit $commit"
"$builder" build --no-cache --platform "$platform" \
  --build-arg "VERSION=$version" --build-arg "VCS_REF=$commit" --build-arg "BUILD_DATE=$(date -u +%FT%TZ)" \
  -f "blockchain/$dockerfile" -t "$image" .
if [ -n "$push" ]; then
  "$builder" push "$image"
  echo "$image built and pushed successfully"
else
  echo "$image built successfully"
fi
