#!/bin/sh
# Run in the image, by its user and without a network: the smallest run from structures to the page.
set -eu
[ "$(id -u)" != 0 ]
began=$(date +%s%N)
hydra-bench --version > /dev/null
echo "hydra-bench --version: $(( ($(date +%s%N) - began) / 1000000 )) ms"
cd "$(mktemp -d)"
snakemake --snakefile /opt/hydra-bench/Snakefile --configfile /opt/hydra-bench/.test/config/config.yaml --cores 2 \
    --quiet all
cat results/tables/table1.md
test -s results/report/index.html
