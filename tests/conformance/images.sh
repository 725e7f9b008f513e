#!/bin/sh
# Container images under the names that the CWL conformance suite uses, made of Debian packages by the mirror that apt
# uses here: no registry is needed. Needs root, podman and debootstrap; some two minutes, nothing where they are there.
set -eu
podman=${PODMAN:-podman}
plain="docker.io/debian:stable-slim docker.io/python:3-slim docker.io/alpine:latest"
shell="docker.io/bash:4.4" # the suite looks whether its ENTRYPOINT is used

missing=
for name in $plain $shell; do
  $podman image exists "$name" || missing=yes
done
[ "$missing" ] || exit 0
for program in debootstrap ${podman%% *}; do
  command -v "$program" >/dev/null || { echo "$program is missing: apt-get install podman runc debootstrap" >&2; exit 1; }
done

codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Codename: $codename" 'Component: main' | head -n 1)
[ "$mirror" ] || { echo "apt knows no mirror of $codename: apt-get update" >&2; exit 1; }
root=$(mktemp -d)
trap 'rm -rf "$root" "$root.log"' EXIT
debootstrap --variant=minbase --include=python3-minimal,python-is-python3,ca-certificates "$codename" "$root" "$mirror" >"$root.log" 2>&1 ||
  { tail -n 20 "$root.log" >&2; exit 1; }
rm -rf "$root"/var/cache/apt/archives/*.deb
for name in $plain; do
  [ "${image:-}" ] || image=$(tar -C "$root" -c . | $podman import --quiet - )
  $podman tag "$image" "$name"
done
tar -C "$root" -c . | $podman import --quiet --change 'ENTRYPOINT ["bash"]' - "$shell" >/dev/null
