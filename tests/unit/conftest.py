"""Tests run as the command line does: repeatable kernels, on two threads."""

from hydra_bench.cli import set_threads

set_threads(2)
