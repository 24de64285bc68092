#!/bin/sh
# What turns a bare Debian with the clone in /opt/hydra-bench into the image: run as root by the Containerfile, and by
# build.sh in a root file system that debootstrap made.
set -eu

export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends ca-certificates python3 python3-venv > /dev/null
cd /opt/hydra-bench
python3 -m venv .venv
# First, so that the lock's PyTorch is there already, in the build that is wanted.
if [ -n "${TORCH:-}" ]; then
    # shellcheck disable=SC2086  # words of a command
    .venv/bin/pip install --quiet --no-cache-dir --disable-pip-version-check $TORCH
fi
.venv/bin/pip install --quiet --no-cache-dir --disable-pip-version-check --requirement requirements.lock
.venv/bin/pip install --quiet --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation --editable .
apt-get clean
rm -rf /var/lib/apt/lists/*
# Jobs write where they are run, and not into the clone.
useradd --create-home --uid 1000 hydra
mkdir -p /work
chown hydra /work
