#!/bin/sh
# Snakemake runs this in the new environment, from the working directory: the root of the clone.
set -e
python -m pip install --no-deps cryodrgn==4.3.1
python -m pip install --no-deps --no-build-isolation --editable .
