"""The arguments of `hydra-bench bench`; nothing heavy is imported for them."""

from __future__ import annotations

import argparse
from pathlib import Path


def bench_arguments(one: argparse.ArgumentParser) -> None:
    one.add_argument("--work", type=Path, required=True, metavar="DIR", help="folder for data, simulated once")
    one.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for bench.json and bench.md")
    one.add_argument("--cases", default="", metavar="A,B", help="cases to run (default all of the file's)")
    one.add_argument("--repeats", type=int, default=3, help="measurements where no seed varies (default 3)")
    one.add_argument("--seeds", metavar="0,1", help="seeds of cases that train (default each case's own)")
    one.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")
    one.add_argument("--device", default="auto", help="auto (default), cpu, cuda, or cuda:<number>")
    one.add_argument("--structures", type=Path, default=Path("resources/structures"), help="folder of PDB entries")
    one.add_argument("--definitions", type=Path, metavar="FILE", help="cases (default the clone's config/bench.yaml)")
    one.add_argument("--quick", action="store_true", help="tiny cases, to try that all of them work")
