#!/bin/sh
# Snakemake runs this in the new environment, from the working directory: the root of the clone.
python -m pip install --no-deps --no-build-isolation --editable .
