"""The arguments of `hydra-bench doctor`; nothing heavy is imported for them."""

from __future__ import annotations

import argparse
from pathlib import Path


def doctor_arguments(one: argparse.ArgumentParser) -> None:
    one.add_argument(
        "--configuration",
        nargs="+",
        type=Path,
        default=[Path("config/config.yaml")],
        metavar="FILE",
        help="configuration files, merged in the order given (default config/config.yaml)",
    )
    one.add_argument("--results", type=Path, default=Path("results"), metavar="DIR", help="where results will go")
    one.add_argument("--gpus", type=int, default=0, help="GPUs that must be usable on this machine (default 0)")
    one.add_argument(
        "--jobs",
        metavar="JSON",
        help="what the jobs of a run ask SLURM for, as JSON text or a file: a list of mappings with the keys rule, "
        "partition, runtime (minutes), mem_mb, cpus, gpus, gpu_model, nodes",
    )
