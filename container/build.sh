#!/bin/sh
# `make image`: the image by podman, buildah or docker, whichever answers first; or, where none does or no base image can
# be had, the same steps in a root file system by debootstrap, which takes root. Then the smallest run in it, offline.
set -eu
cd "$(dirname "$0")/.."
version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' workflow/hydra_bench/__init__.py)
name=hydra-bench:$version

try_image() { # the command that runs a container
    "$@" run --rm --network none "$name" sh /opt/hydra-bench/container/try.sh
    "$@" image inspect "$name" --format 'image: {{.Size}} bytes'
}

for builder in podman docker; do
    if command -v "$builder" > /dev/null && "$builder" info > /dev/null 2>&1; then
        if "$builder" build --build-arg "VERSION=$version" --build-arg "TORCH=${TORCH:-}" --tag "$name" --file container/Containerfile .; then
            try_image "$builder"
            exit
        fi
    fi
done
if command -v buildah > /dev/null && buildah build --build-arg "VERSION=$version" --build-arg "TORCH=${TORCH:-}" --tag "$name" \
    --file container/Containerfile .; then
    echo "$name is built; there is no podman or docker to try it with"
    exit
fi

echo "make: no base image, or nothing that builds from one: the same steps by debootstrap" >&2
if [ "$(id -u)" != 0 ] || ! command -v debootstrap > /dev/null; then
    echo "make: that takes root, and debootstrap; on Debian: apt-get install debootstrap" >&2
    exit 1
fi
root=build/image/root
rm -rf build/image
mkdir -p "$root"
# From where this machine has its packages, with its way to package indices.
mirror=$(apt-get indextargets --format '$(REPO_URI)' | head -n 1)
debootstrap --variant=minbase bookworm "$root" "$mirror" > build/image/debootstrap.log
mkdir -p "$root/opt/hydra-bench" "$root/etc/ssl/certs"
cp -L /etc/resolv.conf "$root/etc/resolv.conf"
git ls-files -z | xargs -0 cp --parents --no-dereference --target-directory "$root/opt/hydra-bench"
# During the installation pip has there what it has here: certificates, and folders of wheels.
mkdir -p "$root/opt/here"
cp /etc/ssl/certs/ca-certificates.crt "$root/opt/here/"
for folder in ${PIP_FIND_LINKS:-}; do
    if [ -d "$folder" ]; then cp -r "$folder/." "$root/opt/here/"; fi
done
env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 "TORCH=${TORCH:-}" \
    PIP_CERT=/opt/here/ca-certificates.crt PIP_FIND_LINKS=/opt/here ${PIP_INDEX_URL:+"PIP_INDEX_URL=$PIP_INDEX_URL"} \
    chroot "$root" sh /opt/hydra-bench/container/install.sh
rm -r "$root/opt/here"
size=$(du -sm "$root" | cut -f 1)
echo "root file system: $size MB in $root"
# Mounts of its own, no network, no other processes in sight.
unshare --mount --net --pid --fork --mount-proc="$PWD/$root/proc" \
    env -i PATH=/opt/hydra-bench/.venv/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/home/hydra LANG=C.UTF-8 \
    chroot --userspec=hydra "$root" sh /opt/hydra-bench/container/try.sh
