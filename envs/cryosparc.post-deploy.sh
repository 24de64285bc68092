#!/bin/sh
# Snakemake runs this in the new environment. The package is not installed there: jobs import that of the clone which
# runs them, by the PYTHONPATH that rules/common.smk sets, so that the environment serves a moved clone, too.
set -e
python -m pip install --no-deps cryosparc-tools==5.0.3
printf '#!/bin/sh\nexec "%s/bin/python" -m hydra_bench.cli "$@"\n' "$CONDA_PREFIX" > "$CONDA_PREFIX/bin/hydra-bench"
chmod +x "$CONDA_PREFIX/bin/hydra-bench"
