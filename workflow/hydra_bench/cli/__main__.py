"""`python -m hydra_bench.cli`, for torchrun and for machines without the script."""

import sys

from hydra_bench.cli.main import main

sys.exit(main())
