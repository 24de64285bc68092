"""The arguments of `hydra-bench reconstruct`; nothing heavy is imported for them."""

from __future__ import annotations

import argparse
from pathlib import Path


def reconstruct_arguments(one: argparse.ArgumentParser) -> None:
    one.add_argument("--environments", type=Path, metavar="DIR", help="folder of the environments of `make envs`")
    one.add_argument("--state", type=Path, required=True, metavar="DIR", help="folder that outlives a killed attempt")
    one.add_argument("--poses-from", type=Path, metavar="STAR", help="given poses: a truth.star or particles.star")
